// Makes Node look as it does on a system without glibc. It is loaded before a child's script.
const original = process.report.getReport.bind(process.report);
process.report.getReport = () => {
  const report = original();
  delete report.header.glibcVersionRuntime;
  return report;
};

// Ends without the package, for the exit matrix: `well` is what the others are compared with, the rest it must
// notice.
const ends = {
  well: () => undefined,
  abort: () => process.abort(),
  complain: () => process.stderr.write('mutex lock failed\n'),
  'other code': () => process.exit(3),
  late: () => setTimeout(() => undefined, 6000),
};
process.stdout.write(`leaving ${Date.now()}\n`, ends[process.argv[2]]);

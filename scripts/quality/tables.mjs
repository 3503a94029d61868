// Writes the tables of docs/quality.md and models/README.md from the reports of scripts/quality/make.mjs. With --check it
// only compares, and fails where a table is stale.
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, root } from '../steps.mjs';
import { recipes } from './recipes.mjs';

export const reportsFolder = 'scripts/quality/reports';
const pages = ['docs/quality.md', 'models/README.md'];

/** Reads the reports that there are, by the names of their recipes. */
export function readReports() {
  const fileOf = (name) => `${root}${reportsFolder}/${name}.json`;
  const names = Object.keys(recipes).filter((name) => existsSync(fileOf(name)));
  return new Map(names.map((name) => [name, JSON.parse(readFileSync(fileOf(name), 'utf8'))]));
}

/**
 * Returns `page` with its tables as the reports make them, and the names of the reports that are missing, whose tables stay
 * as they are. A table lies between `<!-- quality: NAME … -->`, which names the reports that it shows, and
 * `<!-- end of quality -->`.
 * @throws Error for marks that are not in pairs, and for a table that mixes images or protocols.
 */
export function withTables(page, reports) {
  const tables = /(<!-- quality: ([a-z0-9 -]+) -->\n)((?:(?!<!--)[\s\S])*)(<!-- end of quality -->)/g;
  const marks = page.match(/<!--[^>]*quality/gi) ?? [];
  const pairs = page.match(tables) ?? [];
  if (pairs.length === 0 || marks.length !== 2 * pairs.length)
    throw new Error(`${pairs.length} tables between marks, and ${marks.length} marks`);
  const missing = [];
  const text = page.replace(tables, (whole, begin, names, _, end) => {
    const absent = names.split(' ').filter((name) => !reports.has(name));
    missing.push(...absent);
    if (absent.length > 0) return whole;
    return `${begin}\n${sectionOf(names.split(' ').map((name) => reports.get(name)))}\n\n${end}`;
  });
  return { text, missing };
}

function sectionOf(reports) {
  const [protocol, ...others] = new Set(reports.map(protocolText));
  if (others.length > 0) throw new Error(`one table mixes '${protocol}' with '${others[0]}'`);
  const commands = reports.flatMap((report) => Object.values(report.commands));
  return [protocol, tableOf(reports), ['```sh', ...commands, '```'].join('\n')].join('\n\n');
}

/** Says what the numbers of a report are of. */
function protocolText({ config, model, test }) {
  const how = {
    levels: model.levels === 256 ? 'bytes as they are' : `bytes in ${model.levels} equal steps`,
    threshold: 'pixels of 128 and more are 1, the others 0',
    dynamic: `a pixel is 1 with probability byte / 255, the mean of ${test.draws} draws of all images`,
  }[test.protocol];
  const given =
    test.given === 'labels' ? ', each given its class; the accuracy is of the likeliest class' : '';
  const images = test.images.toLocaleString('en');
  const trained = `Trained on ${Math.round(100 * (1 - config.validation))} % of \`${config.data}:train\`, the rest was held out for validation`;
  return `${trained}; tested on the ${images} images of \`${test.data}\`${given}. Protocol \`${test.protocol}\`: ${how}.`;
}

function tableOf(reports) {
  const columns = [
    [
      'model',
      ({ name }) =>
        `\`${name}\` ([report](../${reportsFolder}/${name}.json), [log](../${reportsFolder}/${name}.log.jsonl))`,
    ],
    ['network', networkText],
    ['test nats', ({ test }) => `**${test.nats.toFixed(2)}**`],
    ['bits/dim', ({ test }) => `**${test.bitsPerDim.toFixed(4)}**`],
    ['accuracy', ({ classification }) => accuracyText(classification)],
    ['weights', ({ test }) => test.weights],
    ['training', trainingText],
    ['machine', ({ device }) => `${device.name}, ${device.instructionSet}, ${device.precision}`],
  ];
  const shown = columns.filter(([, text]) => reports.some((report) => text(report) !== ''));
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const head = [line(shown.map(([title]) => title)), line(shown.map(() => '---'))];
  return [...head, ...reports.map((report) => line(shown.map(([, text]) => text(report))))].join('\n');
}

function networkText({ model, parameters }) {
  const { architecture = 'plain', layers, hiddenChannels, kernelSize, firstKernelSize, levels } = model;
  const sizes = [...new Set([firstKernelSize ?? kernelSize, kernelSize])].map((side) => `${side}×${side}`);
  const count = parameters.live.toLocaleString('en');
  return `${architecture}, ${layers} layers, ${hiddenChannels} channels, ${sizes.join(' then ')}, ${levels} levels; ${count} live parameters`;
}

function accuracyText(classification) {
  return classification === undefined ? '' : `**${(100 * classification.accuracy).toFixed(2)} %**`;
}

function trainingText({ training, device }) {
  const { step, batchSize, epochs, minutes, seed } = training;
  const cores = device.threads === 1 ? 'one core' : `${device.threads} cores`;
  return `${step.toLocaleString('en')} steps of ${batchSize} images (${epochs.toFixed(1)} epochs), seed ${seed}: ${minutes.toFixed(0)} min on ${cores}`;
}

/** Writes the tables of both pages. Returns the names of the reports that are missing. */
export function writeTables() {
  const reports = readReports();
  return pages.flatMap((page) => {
    const { text, missing } = withTables(readFileSync(root + page, 'utf8'), reports);
    writeFileSync(root + page, text);
    return missing;
  });
}

/** Returns what is wrong with the tables of a page; undefined if they are as the reports make them. */
function complaintAbout(page, reports) {
  const before = readFileSync(root + page, 'utf8');
  const { text, missing } = withTables(before, reports);
  if (missing.length > 0)
    return `${page} shows reports that are not in ${reportsFolder}: ${missing.join(', ')}`;
  return text === before
    ? undefined
    : `${page} does not show the reports as they are. Run \`npm run format\`.`;
}

const isMain = process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isMain) {
  if (!process.argv.includes('--check')) writeTables();
  else {
    const reports = readReports();
    const complaint = pages.map((page) => complaintAbout(page, reports)).find((one) => one !== undefined);
    if (complaint !== undefined) fail(complaint);
  }
}

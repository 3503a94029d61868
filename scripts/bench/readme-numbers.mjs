// Writes the README's tables of CPU numbers from reports of `npm run bench -- --peer pytorch`: ranges over all of them.
// Usage: node scripts/bench/readme-numbers.mjs scripts/bench/reports/NAME.json ...
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, root } from '../steps.mjs';

const begin = '<!-- cpu numbers: made by scripts/bench/readme-numbers.mjs -->';
const end = '<!-- end of cpu numbers -->';

/**
 * What the rows show: our variant, how many images it is of (0: a batch), and the names of the ratios to PyTorch in f32 and
 * in bf16. `FAST` stands for the algorithm that the report has beside `direct`.
 */
const rows = [
  ['training step', 'training step', 0, 'training step / pytorch f32', 'training step / pytorch bf16'],
  ['training step, bf16', 'training step, bf16', 0, '', 'training step bf16 / pytorch bf16'],
  ['training step, `direct`', 'training step, direct', 0, 'training step direct / pytorch f32', ''],
  [
    'forward to logits, `FAST`',
    'forward, FAST',
    0,
    'forward FAST / pytorch f32',
    'forward FAST / pytorch bf16',
  ],
  ['forward to logits, `direct`', 'forward, direct', 0, 'forward direct / pytorch f32', ''],
  ['forward to logits, `direct`, bf16', 'forward direct, bf16', 0, '', 'forward direct bf16 / pytorch bf16'],
  ['sampling 16 images', 'sampling 16', 16, 'sampling 16 / pytorch one forward per pixel', ''],
  [
    'sampling 16 images, bf16',
    'sampling 16, bf16',
    16,
    'sampling 16 bf16 / pytorch f32 one forward per pixel',
    '',
  ],
  ['sampling 1 image', 'sampling 1', 1, 'sampling 1 / pytorch one forward per pixel', ''],
];

/** Returns `text` with the tables of `reports`, [path, report] each, between the marks. Throws where there are no marks. */
export function withNumbers(text, reports) {
  const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`the text lacks '${begin}' … '${end}'`);
  return `${text.slice(0, start + begin.length)}\n${tables(reports)}\n${text.slice(stop)}`;
}

function tables(reports) {
  const networks = new Map();
  for (const [path, report] of reports) {
    for (const model of modelsOf(report)) {
      if (Object.keys(model.ratios ?? {}).every((name) => !name.includes('pytorch')))
        throw new Error(`${path} has no numbers of PyTorch`);
      const key = `${model.architecture}, ${model.levels} levels, batch ${report.batch}`;
      networks.set(key, [...(networks.get(key) ?? []), { batch: report.batch, ...model }]);
    }
  }
  const numbers = [...networks].map(([network, models]) => numbersTable(network, models));
  return [machineTable(reports), ...numbers].join('\n\n');
}

/** Returns the measured networks of a report. The oldest reports are of the plain network only. */
function modelsOf(report) {
  return report.models ?? [{ ...report, architecture: 'plain', levels: 256 }];
}

function machineTable(reports) {
  const lines = reports.map(([path, { date, device, peer, peakGflops, machine, ...report }]) => {
    // The first time is of the warm-up, which no number is from.
    const times = modelsOf(report).flatMap(({ coreToCoreNs = [] }) => coreToCoreNs.slice(-report.repeats));
    const atStart = (machine?.coreToCore.pairs ?? []).map(({ ns }) => ns);
    const cells = [
      `[${date.slice(0, 10)}](${path})`,
      `${device.name}, ${device.instructionSet}, ${device.threads} threads`,
      `${peakGflops.toFixed(0)} GF/s`,
      range([...times, ...atStart].filter(Number.isFinite), (ns) => ns.toFixed(0), ' ns') || 'not measured',
      cachesText(machine?.caches) ?? 'unknown',
      machine === undefined ? 'unknown' : machine.loadAverage.toFixed(1),
      peer.torch,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| report | processor | FMA peak of all threads | core to core | caches | load before | PyTorch |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

/** Returns the size of each cache from the second level on, and how many processors share one. */
function cachesText(caches) {
  return caches
    ?.filter(({ name }) => !name.startsWith('L1'))
    .map(({ name, size, groups }) => {
      return `${name} ${size}${groups[0].length > 1 ? ` shared by ${groups[0].length}` : ' each'}`;
    })
    .join(', ');
}

function numbersTable(network, models) {
  const lines = rows.flatMap(([title, variant, images, f32, bf16]) => {
    const named = (text, { medianMs }) => {
      const fast = 'pixelcnn forward, winograd' in medianMs ? 'winograd' : 'auto';
      return text.replace('FAST', fast);
    };
    const times = models
      .map((model) => [model.medianMs[`pixelcnn ${named(variant, model)}`], images || model.batch])
      .filter(([ms]) => ms !== undefined);
    if (times.length === 0) return [];
    const ratio = (name) => {
      const values = models.map((model) => model.ratios[named(name, model)]).filter(Number.isFinite);
      const text = range(values, ratioText, '×');
      return text === '' ? '' : `${name.includes('per pixel') ? 'one forward per pixel: ' : ''}**${text}**`;
    };
    const cells = [
      named(title, models[0]),
      range(
        times.map(([ms]) => ms),
        (ms) => ms.toFixed(ms < 100 ? 1 : 0),
        ' ms',
      ),
      range(
        times.map(([ms, count]) => (1000 * count) / ms),
        (rate) => rate.toFixed(0),
        '',
      ),
      ratio(f32),
      ratio(bf16),
    ];
    return [`| ${cells.join(' | ')} |`];
  });
  const head = `| ${network} | pixelcnn | images/s | times PyTorch f32 | times PyTorch bf16 autocast |`;
  return [head, '| --- | --- | --- | --- | --- |', ...lines].join('\n');
}

/** Writes a ratio with two digits, or all those before the point, so that 0.96 does not read like 1. */
function ratioText(value) {
  return value < 10 ? value.toPrecision(2) : value.toLocaleString('en', { maximumFractionDigits: 0 });
}

/** Writes the least and the most of some values, one number if both read the same, and '' for none. */
function range(values, write, unit) {
  if (values.length === 0) return '';
  const [least, most] = [Math.min(...values), Math.max(...values)].map(write);
  return `${least === most ? least : `${least}–${most}`}${unit}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const paths = process.argv.slice(2);
  if (paths.length === 0)
    fail('Usage: node scripts/bench/readme-numbers.mjs scripts/bench/reports/NAME.json ...');
  const readme = `${root}README.md`;
  const reports = paths.map((path) => [path, JSON.parse(readFileSync(path, 'utf8'))]);
  try {
    writeFileSync(readme, withNumbers(readFileSync(readme, 'utf8'), reports));
  } catch (error) {
    fail(error.message);
  }
}

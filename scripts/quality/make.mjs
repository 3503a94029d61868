// Trains one of the published models, measures it, and writes its report, its log and, if it comes with the package, its
// file in models/. A run that was stopped goes on where it was.
// Usage: node scripts/quality/make.mjs NAME [--out FOLDER]   (see scripts/quality/recipes.mjs for the names)
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, root, step } from '../steps.mjs';
import { commandsOf, otherSetting, recipes } from './recipes.mjs';
import { minutesOf, readLines, shortened, stepsPerEpoch } from './run-log.mjs';
import { reportsFolder, writeTables } from './tables.mjs';

const usage = `Usage: node scripts/quality/make.mjs NAME [--out FOLDER]

Trains one of the published models and measures it: ${Object.keys(recipes).join(', ')}.
--out is the folder of the run, by default .cache/quality/NAME of the repository. A run in it that was stopped goes on, and
one that is complete is only measured again; remove the folder to train anew.
`;
const { name, run } = readArguments();
const recipe = recipes[name];
const cli = 'dist/cli/main.js';

step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
const { presets } = await import('../../dist/index.js');
const commands = commandsOf(recipe, run);
const configFile = join(run, 'config.json');
const summaryFile = join(run, 'summary.json');
checkRecipe();
if (!existsSync(summaryFile) || readJson(summaryFile).stopped) {
  const args = existsSync(configFile) ? ['train', '--resume', '--out', run] : commands.train;
  step(`training ${name}`, 'node', [cli, ...args], { show: true });
  checkRecipe();
}
const summary = readJson(summaryFile);
if (summary.stopped) fail(`the training of ${name} was stopped; the same command goes on with it`);
const lines = readLines(join(run, 'metrics.jsonl'));
const checkpoint = resultOf(['inspect', join(run, summary.checkpoint), '--no-tensors']);
const file = join(run, 'model-ema.safetensors');
const report = {
  name,
  // As a reader would type them.
  commands: Object.fromEntries(
    Object.entries(commandsOf(recipe, `runs/${name}`)).map(([key, args]) => [
      key,
      `npx pixelcnn ${args.join(' ')}`,
    ]),
  ),
  model: summary.model,
  parameters: checkpoint.parameters,
  training: {
    ...checkpoint.training,
    epochs: checkpoint.training.step / stepsPerEpoch(lines),
    minutes: minutesOf(lines),
  },
  config: readJson(configFile),
  device: summary.device,
  versions: summary.versions,
  finishedAt: summary.finishedAt,
  sha256: createHash('sha256').update(readFileSync(file)).digest('hex'),
  test: resultOf(commands.evaluate),
  ...(commands.classify && { classification: resultOf(commands.classify) }),
};
// The path of the model is that of this machine, and the class of every image would be most of the report.
delete report.test.model;
delete report.classification?.model;
delete report.classification?.labels;
const reports = join(root, reportsFolder);
mkdirSync(reports, { recursive: true });
writeFileSync(`${reports}/${name}.json`, `${JSON.stringify(report, null, 2)}\n`);
const log = shortened(lines).map((line) => `${JSON.stringify(line)}\n`);
writeFileSync(`${reports}/${name}.log.jsonl`, log.join(''));
if (recipe.pretrained) copyFileSync(file, `${root}models/${name}.safetensors`);
for (const missing of writeTables()) process.stderr.write(`There is no report '${missing}' yet.\n`);

/** Reads the name of the recipe and the absolute path of the run's folder. */
function readArguments() {
  let parsed;
  try {
    parsed = parseArgs({
      options: { out: { type: 'string' }, help: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
  } catch (error) {
    fail(`${error.message}\n\n${usage}`);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(usage);
    process.exit(0);
  }
  const [asked] = positionals;
  if (positionals.length !== 1 || !Object.hasOwn(recipes, asked)) fail(usage);
  return { name: asked, run: values.out ? resolve(values.out) : join(root, '.cache/quality', asked) };
}

/** Ends the script if the folder holds a run that is not of this recipe. */
function checkRecipe() {
  if (!existsSync(configFile)) return;
  const other = otherSetting(readJson(configFile), recipe, presets);
  if (other !== undefined) fail(`${run} holds another run: ${other}. Remove it, or give another --out.`);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Runs a command of pixelcnn and returns the JSON that it prints. */
function resultOf(args) {
  process.stderr.write(`── pixelcnn ${args.join(' ')}\n`);
  const result = spawnSync('node', [cli, ...args, '--json'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  });
  if (result.status !== 0) fail(`pixelcnn ${args[0]} failed (exit code ${result.status ?? result.signal})`);
  return JSON.parse(result.stdout.trim().split('\n').at(-1));
}

// Tests that the pretrained models are what their reports say: the same commands take the same first 1,000 steps again, and
// the files in models/ have the published likelihoods and tell the classes apart.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { pretrainedFile, pretrainedNames } from '../../src/checkpoint/pretrained.js';
import { openDevice } from '../../src/index.js';
import { numericsChangeText, numericsOf, sameNumerics } from '../../src/train/numerics.js';
import { testFolder } from '../cli/run-cli.js';
import { skipAloud } from '../helpers/skip.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { commandsOf, recipes } = await import(`${root}scripts/quality/recipes.mjs`);
const { comparedSteps, firstDifference, readLines } = await import(`${root}scripts/quality/run-log.mjs`);
const { readReports } = await import(`${root}scripts/quality/tables.mjs`);
const reports = readReports();
const device = await openDevice({ backend: 'cpu' });
const numerics = numericsOf(device, 'auto');
await device.dispose();

describe.each(pretrainedNames)('%s', (name) => {
  const report = reports.get(name);
  const theirs = report.training.numerics;
  // A release that adds in another order must make the models again, so that its version is not compared here.
  const here = { ...numerics, sums: theirs.sums };
  const other = sameNumerics(theirs, here)
    ? undefined
    : `this machine adds in another order: ${numericsChangeText(theirs, here)}`;
  const { run, start, path } = testFolder();
  const cpu = ['--device', 'cpu', '--json'];
  const log = readLines(`${root}scripts/quality/reports/${name}.log.jsonl`);

  /** Starts the command of the recipe, and stops it when it has taken so many steps. Returns the metrics. */
  async function trained(folder: string, steps: number, ...more: string[]) {
    const { train } = commandsOf(recipes[name], folder);
    const { child, ended, said } = start([...train, ...cpu, ...more]);
    await said(`"step":${steps},`);
    child.kill('SIGINT');
    expect((await ended).code).toBe(128 + 2);
    return readLines(path(folder, 'metrics.jsonl'));
  }

  it.skipIf(skipAloud(`the first steps of ${name}`, other))(
    `takes the first ${comparedSteps} steps again, to the last bit`,
    async () => {
      expect(firstDifference(await trained('run', comparedSteps), log)).toBeUndefined();
      // Planted: a run from other initial weights is noticed at once.
      const seeded = await trained('seeded', 2, '--seed', '1');
      expect(firstDifference(seeded, log)).toMatch(/^step 1: nats is/);
    },
    1_800_000,
  );

  it('is the file of the report', () => {
    const bytes = readFileSync(pretrainedFile(name));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(report.sha256);
  });

  it('has the published likelihood', async () => {
    const { evaluate } = commandsOf(recipes[name], `pixelcnn:${name}`);
    const result = JSON.parse((await run([...evaluate, ...cpu])).stdout);
    const { nats, bitsPerDim, images, protocol, weights } = report.test;
    expect(result).toMatchObject({ images, protocol, weights, given: 'labels' });
    // Another instruction set adds in another order.
    expect(Math.abs(result.nats / nats - 1)).toBeLessThan(1e-5);
    expect(Math.abs(result.bitsPerDim / bitsPerDim - 1)).toBeLessThan(1e-5);
  }, 1_800_000);

  it('tells the classes apart as often as published, among the first images', async () => {
    const { classify } = commandsOf(recipes[name], `pixelcnn:${name}`);
    const limit = 1000;
    const result = JSON.parse((await run([...classify, '--limit', String(limit), ...cpu])).stdout);
    expect(result).toMatchObject({ images: limit, protocol: report.test.protocol });
    // Three standard deviations of the share among 1,000 of the images.
    const { accuracy } = report.classification;
    const deviation = Math.sqrt((accuracy * (1 - accuracy)) / limit);
    expect(Math.abs(result.accuracy - accuracy)).toBeLessThan(3 * deviation);
  }, 1_800_000);
});

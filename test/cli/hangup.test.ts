// Tests a terminal that is closed: a run saves although it cannot print any more, and other commands end in order.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { common, jsonLines, mainFile, stepsOf, testFolder } from './run-cli.js';

const { path, read, run, start } = testFolder();

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (condition()) return;
    await setTimeout(50);
  }
  throw new Error(`20 s without ${what}`);
}

const missing = existsSync('/usr/bin/script') ? undefined : 'no script(1) here';
it.skipIf(skipAloud('a closed terminal', missing))('saves and exits with 129', async () => {
  const train = [...common, '--epochs', '100000', '--samples', '0', '--out', path('run')].join(' ');
  // As a login shell does, this one passes the hangup on; it outlives the terminal to tell how the run ended.
  const shell = [
    "trap 'kill -HUP $run' HUP",
    `${process.execPath} ${mainFile} ${train} & run=$!`,
    `echo $run > ${path('pid')}`,
    'wait $run',
    'wait $run', // the first one ends with the trap
    `echo $? > ${path('code')}`,
  ].join('\n');
  const terminal = spawn('script', ['-qec', shell, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] });
  let seen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  try {
    await until(() => /step \d\d/.test(seen), 'a step');
    terminal.kill('SIGKILL');
    const told = () => existsSync(path('code')) && read('code') !== '';
    await until(told, 'an exit code');
  } catch (error) {
    if (existsSync(path('pid'))) process.kill(Number(read('pid')), 'SIGKILL');
    throw error;
  }
  // Not 134: Node would abort where it cannot reset the terminal.
  expect(read('code')).toBe('129\n');
  expect(JSON.parse(read('run', 'summary.json'))).toMatchObject({ stopped: true });
  const last = stepsOf(jsonLines(read('run', 'metrics.jsonl'))).at(-1)!;
  expect(readdirSync(path('run', 'checkpoints'))).toContain(
    `step-${String(last).padStart(8, '0')}.safetensors`,
  );
});

it.each([
  ['SIGHUP', 129],
  ['SIGINT', 130],
] as const)('evaluate shows how far it is and ends with %s', async (signal, expected) => {
  const train = await run([...common, '--steps', '1', '--samples', '0', '--out', `of-${signal}`]);
  expect(train.code).toBe(0);
  const { child, ended } = start(['evaluate', `of-${signal}/model.safetensors`, '--data', 'mnist']);
  let [seen, killed] = ['', false];
  child.stderr!.on('data', (part: Buffer) => {
    seen += part;
    if (killed || !/evaluating: [\d,]+ of 60,000 images {2}\d+%/.test(seen)) return;
    killed = child.kill(signal);
  });
  const { code, stdout, stderr } = await ended;
  expect([code, stdout]).toEqual([expected, '']);
  expect(stderr).toMatch(new RegExp(`^interrupted by ${signal}\n$`, 'm'));
  expect(stderr).not.toContain('error');
});

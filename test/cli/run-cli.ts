// Runs the built command line as a person does, in a folder of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../helpers/temporary-folder.js';

export const mainFile = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves once stdout contains `text`. */
  said(text: string): Promise<void>;
}

/** A temporary folder for a test file and the means to run commands in it. */
export function testFolder() {
  const folder = temporaryFolder('cli');
  const start = (args: readonly string[], environment: NodeJS.ProcessEnv = {}): Running => {
    const { FORCE_COLOR: _, NO_COLOR: __, ...rest } = process.env;
    const env = { ...rest, ...environment };
    const child = spawn(process.execPath, [mainFile, ...args], { cwd: folder, env });
    let [stdout, stderr] = ['', ''];
    const waiting: { text: string; resolve: () => void }[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      for (const one of waiting) if (stdout.includes(one.text)) one.resolve();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, stdout, stderr }));
    });
    const said = (text: string) => {
      const heard = new Promise<void>((resolve) => {
        if (stdout.includes(text)) resolve();
        else waiting.push({ text, resolve });
      });
      const early = ended.then((end) => {
        if (!end.stdout.includes(text)) throw new Error(`ended without saying ${text}: ${end.stderr}`);
      });
      return Promise.race([heard, early]);
    };
    return { child, ended, said };
  };
  return {
    path: (...parts: string[]) => join(folder, ...parts),
    read: (...parts: string[]) => readFileSync(join(folder, ...parts), 'utf8'),
    start,
    run: (args: readonly string[], environment?: NodeJS.ProcessEnv) => start(args, environment).ended,
  };
}

export interface Line {
  readonly type: string;
  readonly step: number;
  readonly bitsPerDim?: number;
}

export function jsonLines(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

/** Numbers of the step lines. */
export function stepsOf(lines: readonly Line[]): number[] {
  return lines.filter(({ type }) => type === 'step').map(({ step }) => step);
}

/** 1, 2, … last */
export function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

/** A model small enough for tests. */
export const tiny = ['--hidden-channels', '8', '--layers', '3', '--kernel-size', '5', '--levels', '4'];

/** A short training run on 90 images, without its length. */
export const images = ['train', '--data', 'mnist', '--limit', '100', '--validation', '0.1', ...tiny];
/** The same; an epoch is 9 steps of 10. */
export const common = [...images, '--batch-size', '10', '--samples', '4'];

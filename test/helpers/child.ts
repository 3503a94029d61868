// Runs scripts of test/*/children in a process of their own, on the built package: a native crash shows as a
// signal.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a child needs of this process' environment; Vitest's own variables must not reach it. */
const inherited = [
  'PATH',
  'HOME',
  'LD_PRELOAD',
  'ASAN_OPTIONS',
  'LSAN_OPTIONS',
  'UBSAN_OPTIONS',
  'PIXELCNN_PREBUILD',
];

const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

export interface ChildOptions {
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Sent when the child first prints `ready`. */
  readonly signalWhenReady?: NodeJS.Signals;
  /** The child is killed with SIGKILL after this many milliseconds. */
  readonly timeout?: number;
}

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `script`, a path relative to test/, under this Node. */
export function runChild(script: string, options: ChildOptions = {}): Promise<ChildResult> {
  if (!existsSync(`${packageRoot}dist/index.js`)) {
    throw new Error('dist/ is missing: build it with `npx tsc -p tsconfig.build.json`');
  }
  const { args = [], nodeArgs = [], env = {}, signalWhenReady, timeout = 60_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeArgs, `${packageRoot}test/${script}`, ...args], {
      cwd: packageRoot,
      env: {
        ...Object.fromEntries(
          inherited.map((name) => [name, process.env[name] ?? '']).filter(([, value]) => value),
        ),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    });
    let [stdout, stderr, sent] = ['', '', false];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (signalWhenReady !== undefined && !sent && stdout.includes('ready')) {
        sent = true;
        child.kill(signalWhenReady);
      }
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr });
    });
  });
}

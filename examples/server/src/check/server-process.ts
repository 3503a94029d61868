// Runs a server in a separate process and measures that process while it is under load.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The measurements of the probe since {@link ServerProcess.begin}. */
export interface ProbeReport {
  /** Delay of the event loop in milliseconds. */
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly unhandledRejections: number;
}

/** Returns the path of a compiled file. It also works in tests, which run this file from its source. */
const built = (name: string) => fileURLToPath(new URL(`../../dist/${name}`, import.meta.url));
/** The size of a memory page on Linux in bytes. */
const pageSize = 4096;

export class ServerProcess implements AsyncDisposable {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;

  private constructor(child: ChildProcess, port: number, ended: Promise<string>) {
    this.#child = child;
    this.port = port;
    this.#ended = ended;
  }

  /**
   * Starts `script`, which must print `listening on ADDRESS`, and waits until its /healthz says that it is
   * ready.
   * @throws Error with the text that the server wrote to stderr, if it ends before.
   */
  static async start(args: readonly string[], script: string = built('main.js')): Promise<ServerProcess> {
    const child = spawn(process.execPath, ['--import', built('check/probe.js'), script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-10_000);
    });
    const ended = new Promise<string>((resolve) => {
      child.once('close', (code, signal) =>
        resolve(`the server ended (${signal ?? `exit code ${code}`}): ${errors}`),
      );
    });
    const port = await new Promise<number>((resolve, reject) => {
      let text = '';
      child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
        text = (text + chunk).slice(-1000);
        const found = /listening on \S+:(\d+)/.exec(text);
        if (found !== null) resolve(Number(found[1]));
      });
      void ended.then((why) => reject(new Error(why)));
    });
    const server = new ServerProcess(child, port, ended);
    await server.#ready();
    return server;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Asks for the number of classes of the model, which is 0 if it has none. */
  async classes(): Promise<number> {
    const health = await fetch(`http://127.0.0.1:${this.port}/healthz`);
    const { model } = (await health.json()) as { model: { condition?: { classes?: number } } };
    return model.condition?.classes ?? 0;
  }

  /** Reads the resident memory of the process in bytes. */
  async residentBytes(): Promise<number> {
    const statm = await readFile(`/proc/${this.#child.pid}/statm`, 'utf8');
    return Number(statm.split(' ')[1]) * pageSize;
  }

  /** Begins a measurement. */
  begin(): void {
    this.#child.send('begin');
  }

  /** Returns what was measured since {@link begin}. */
  report(): Promise<ProbeReport> {
    return new Promise((resolve, reject) => {
      this.#child.once('message', (message) => resolve(message as ProbeReport));
      void this.#ended.then((why) => reject(new Error(why)));
      // If the process has ended, sending fails. #ended reports that, so the error is ignored here.
      this.#child.send('report', () => undefined);
    });
  }

  async #ready(): Promise<void> {
    for (;;) {
      const health = await fetch(`http://127.0.0.1:${this.port}/healthz`).catch(() => undefined);
      if (health?.ok) return;
      if (!this.running) throw new Error(await this.#ended);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Stops the server and returns how it ended. If it does not end within half a minute, it is killed. */
  async stop(): Promise<string> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 30_000);
    const how = await this.#ended;
    clearTimeout(timer);
    return how;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.stop();
  }
}

// Puts a server under the load of many clients, some of which leave early or send nonsense.
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpConnection, NoAnswer } from './http-connection.js';
import type { ProbeReport, ServerProcess } from './server-process.js';
import { type Exchange, Traffic } from './traffic.js';

export interface LoadOptions {
  readonly clients: number;
  /** Seconds of load before the measurement begins. */
  readonly warmUp: number;
  /** Seconds of measurement. */
  readonly seconds: number;
  /** The share of requests whose client leaves before the answer. */
  readonly aborting: number;
  readonly malformed: number;
  /** Milliseconds after which an answer counts as missing. */
  readonly patience: number;
}

export interface LoadReport {
  readonly options: LoadOptions;
  readonly running: boolean;
  readonly probe: ProbeReport | undefined;
  /** Resident memory in MiB during the measurement. */
  readonly residentMemory: {
    readonly first: number;
    readonly least: number;
    readonly most: number;
    readonly last: number;
  };
  /** The number of correct answers by kind of request. Answers of status 429 are counted separately. */
  readonly answered: Readonly<Record<Exchange['kind'] | 'queue full', number>>;
  readonly aborted: number;
  readonly unanswered: number;
  /** The number of answers without a request. */
  readonly surplus: number;
  readonly wrong: number;
  /** The first few descriptions of what was wrong. */
  readonly complaints: readonly string[];
  /** Milliseconds from request to answer for correct answers. */
  readonly latency: { readonly p50: number; readonly p99: number };
  readonly refusalLatency: { readonly p50: number; readonly p99: number };
}

export interface LoadLimits {
  /** The largest allowed 99th percentile of the event loop's delay, in milliseconds. */
  readonly delay: number;
  /** The largest allowed difference between the least and the most resident memory, in MiB. */
  readonly memory: number;
}

export async function runLoad(server: ServerProcess, options: LoadOptions): Promise<LoadReport> {
  const run = new Clients(server.port, options, await server.classes());
  const clients = Array.from({ length: options.clients }, () => run.client());
  await sleep(1000 * options.warmUp);
  const resident: number[] = [];
  let probe: ProbeReport | undefined;
  if (server.running) {
    server.begin();
    const end = performance.now() + 1000 * options.seconds;
    while (performance.now() < end && server.running) {
      resident.push((await server.residentBytes().catch(() => 0)) / 2 ** 20);
      await sleep(200);
    }
    probe = await server.report().catch(() => undefined);
  }
  run.stop();
  await Promise.all(clients);
  const round = (value: number | undefined) => Math.round(10 * (value ?? 0)) / 10;
  return {
    ...run.report(),
    options,
    running: server.running,
    probe,
    residentMemory: {
      first: round(resident[0]),
      least: round(Math.min(...resident)),
      most: round(Math.max(...resident)),
      last: round(resident.at(-1)),
    },
  };
}

/** Lists the faults of the server that a report shows. */
export function violations(report: LoadReport, limits: LoadLimits): string[] {
  const found = [...report.complaints];
  if (!report.running) found.push('the server ended');
  if (report.probe === undefined) found.push('the server told nothing of itself');
  else {
    const { delay, unhandledRejections } = report.probe;
    if (unhandledRejections > 0) found.push(`${unhandledRejections} unhandled rejections`);
    if (!(delay.p99 <= limits.delay)) {
      found.push(`event loop delay: p99 of ${delay.p99.toFixed(1)} ms is above ${limits.delay} ms`);
    }
  }
  if (report.unanswered > 0) found.push(`${report.unanswered} requests without an answer`);
  if (report.surplus > 0) found.push(`${report.surplus} connections with an answer too many`);
  if (report.wrong > 0) found.push(`${report.wrong} wrong answers`);
  const { least, most } = report.residentMemory;
  if (!(most - least <= limits.memory)) {
    found.push(`resident memory: from ${least} to ${most} MiB, which is more than ${limits.memory} apart`);
  }
  for (const [kind, count] of Object.entries(report.answered)) {
    if (count === 0) found.push(`no request of kind '${kind}' was answered: the run proves nothing of them`);
  }
  return found;
}

class Clients {
  readonly #port: number;
  readonly #options: LoadOptions;
  readonly #random = randomNumbers(1);
  readonly #traffic: Traffic;
  readonly #answered = {
    sample: 0,
    stream: 0,
    complete: 0,
    'log-likelihood': 0,
    malformed: 0,
    'queue full': 0,
  };
  readonly #latencies: number[] = [];
  readonly #refusalLatencies: number[] = [];
  readonly #complaints: string[] = [];
  #aborted = 0;
  #unanswered = 0;
  #surplus = 0;
  #wrong = 0;
  #stopped = false;

  constructor(port: number, options: LoadOptions, classes: number) {
    this.#port = port;
    this.#options = options;
    this.#traffic = new Traffic(this.#random, classes);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Runs one client, which sends one request after another and reuses its connection while that is open. */
  async client(): Promise<void> {
    let connection: HttpConnection | undefined;
    while (!this.#stopped) {
      try {
        connection ??= await HttpConnection.open(this.#port);
      } catch (error) {
        this.#complain(`no connection: ${error instanceof Error ? error.message : error}`);
        await sleep(500);
        continue;
      }
      if (!(await this.#exchange(connection))) {
        connection.destroy();
        connection = undefined;
      }
    }
    // Wait for a surplus answer, which may come late.
    await sleep(200);
    if (connection !== undefined && connection.surplus > 0) this.#surplus += 1;
    connection?.destroy();
  }

  /** Sends one request and waits for its answer. Returns whether the connection can be used again. */
  async #exchange(connection: HttpConnection): Promise<boolean> {
    const kind = this.#random();
    const { aborting, malformed, patience } = this.#options;
    if (kind < aborting) {
      const { text } = this.#traffic.wellFormed();
      // Some clients leave before they have sent the whole request.
      connection.send(kind < aborting / 4 ? text.slice(0, -10) : text);
      await sleep(40 * this.#random());
      this.#aborted += 1;
      return false;
    }
    const exchange = kind < aborting + malformed ? this.#traffic.malformed() : this.#traffic.wellFormed();
    const start = performance.now();
    connection.send(exchange.text);
    try {
      const answer = await connection.answer(patience);
      const milliseconds = performance.now() - start;
      const complaint = exchange.complaint(answer);
      if (complaint !== undefined) {
        this.#wrong += 1;
        this.#complain(complaint);
      } else if (answer.status === 429) {
        this.#answered['queue full'] += 1;
        this.#refusalLatencies.push(milliseconds);
      } else {
        this.#answered[exchange.kind] += 1;
        if (answer.status === 200) this.#latencies.push(milliseconds);
      }
      // The clients are impatient and do not wait the seconds that Retry-After asks for.
      await sleep((answer.status === 429 ? 200 : 10) * this.#random());
      const last = exchange.last || answer.headers.get('connection') === 'close';
      if (!last && connection.surplus > 0) {
        this.#surplus += 1;
        return false;
      }
      return !last;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      this.#unanswered += 1;
      this.#complain(`${exchange.kind}: ${error.message}`);
      return false;
    }
  }

  #complain(text: string): void {
    if (this.#complaints.length < 10) this.#complaints.push(text);
  }

  report() {
    return {
      answered: this.#answered,
      aborted: this.#aborted,
      unanswered: this.#unanswered,
      surplus: this.#surplus,
      wrong: this.#wrong,
      complaints: this.#complaints,
      latency: percentiles(this.#latencies),
      refusalLatency: percentiles(this.#refusalLatencies),
    };
  }
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(10 * (sorted[Math.floor(share * sorted.length)] ?? 0)) / 10;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Returns a generator of numbers in [0, 1) that are the same in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

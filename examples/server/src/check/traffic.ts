// Makes the requests of the load test and checks the answers to them.
import type { Answer } from './http-connection.js';

export interface Exchange {
  readonly kind: 'sample' | 'stream' | 'complete' | 'log-likelihood' | 'malformed';
  /** The bytes of the request. */
  readonly text: string;
  /** Says what is wrong with an answer. Returns undefined for a correct one. */
  readonly complaint: (answer: Answer) => string | undefined;
  /** Whether the connection cannot be used again afterwards. */
  readonly last: boolean;
}

/** There are few seeds, so that most answers can be compared with an earlier one to the same request. */
const seedCount = 8;
const pixels = 28 * 28;

export class Traffic {
  readonly #random: () => number;
  readonly #classes: number;
  /** The first answer to each request. The same request must always get the same answer. */
  readonly #answers = new Map<string, string>();

  /** `random` must return numbers in [0, 1). `classes` is 0 for a model without classes. */
  constructor(random: () => number, classes: number) {
    this.#random = random;
    this.#classes = classes;
  }

  /** Makes a valid request for images or likelihoods. */
  wellFormed(): Exchange {
    const seed = Math.floor(this.#random() * seedCount);
    const at = this.#random();
    const labels = this.#classes === 0 ? undefined : Math.floor(this.#random() * this.#classes);
    const size = { height: 28, width: 28, labels };
    if (at < 0.5) return this.#exchange('sample', '/sample', { seed, count: 1 + (seed % 4), ...size });
    if (at < 0.65) return this.#exchange('stream', '/sample', { seed, ...size });
    const images = [Buffer.alloc(pixels, seed % 2 === 0 ? 255 : 0).toString('base64')];
    if (at < 0.85) {
      const known = [
        Buffer.alloc(pixels)
          .fill(1, 0, pixels / 2)
          .toString('base64'),
      ];
      return this.#exchange('complete', '/complete', { images, known, seed, ...size });
    }
    return this.#exchange('log-likelihood', '/log-likelihood', { images, ...size });
  }

  /** Makes a request that the server must refuse. */
  malformed(): Exchange {
    const { request, status, last } = malformed[Math.floor(this.#random() * malformed.length)]!;
    const complaint = (answer: Answer) =>
      answer.status === status
        ? undefined
        : `status ${answer.status} instead of ${status} for ${request.slice(0, 200)}`;
    return { kind: 'malformed', text: request, complaint, last: last === true };
  }

  #exchange(kind: Exchange['kind'], path: string, body: object): Exchange {
    const json = JSON.stringify(body);
    const key = `${kind} ${json}`;
    const complaint = (answer: Answer) => {
      if (answer.status === 429) {
        return Number(answer.headers.get('retry-after')) >= 1 ? undefined : '429 without Retry-After';
      }
      if (answer.status !== 200) return `status ${answer.status} for ${kind}: ${answer.body.slice(0, 200)}`;
      const found = kind === 'stream' ? lastEvent(answer.body) : answer.body;
      if (found === undefined) return 'a stream without its last event';
      const first = this.#answers.get(key) ?? found;
      this.#answers.set(key, first);
      return found === first ? undefined : `another answer than before to ${kind} ${json.slice(0, 80)}`;
    };
    return {
      kind,
      text: post(path, json, kind === 'stream' ? 'text/event-stream' : '*/*'),
      complaint,
      last: false,
    };
  }
}

/** Returns the data of the last event of a stream. */
function lastEvent(body: string): string | undefined {
  return /event: done\ndata: (.*)\n\n$/.exec(body)?.[1];
}

function post(path: string, json: string, accept = '*/*'): string {
  const headers = `host: load\r\naccept: ${accept}\r\ncontent-type: application/json`;
  return `POST ${path} HTTP/1.1\r\n${headers}\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
}

const malformed: { request: string; status: number; last?: boolean }[] = [
  { request: post('/sample', '{"count":'), status: 400 },
  { request: post('/sample', '{"count":1000000000}'), status: 400 },
  { request: post('/sample', '{"height":4096,"width":4096}'), status: 400 },
  { request: post('/sample', '{"seed":-1}'), status: 400 },
  { request: post('/sample', '{"sed":1}'), status: 400 },
  { request: post('/sample', '{"labels":1.5}'), status: 400 },
  { request: post('/sample', '{"__proto__":{"count":1}}'), status: 400 },
  { request: post('/complete', '{"images":["AAAA"],"known":["AAAA"]}'), status: 400 },
  { request: post('/complete', '{"images":["no base64!"],"known":[]}'), status: 400 },
  { request: post('/log-likelihood', '[]'), status: 400 },
  { request: post('/nowhere', '{}'), status: 404 },
  { request: 'GET /sample HTTP/1.1\r\nhost: load\r\n\r\n', status: 404 },
  {
    request:
      'POST /sample HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n{',
    status: 413,
    last: true,
  },
  { request: 'this is not HTTP\r\n\r\n', status: 400, last: true },
];

// Speaks HTTP/1.1 over one connection byte by byte, so that missing or surplus answers are noticed.
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** The error for an answer that did not come. */
export class NoAnswer extends Error {}

export class HttpConnection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #closed: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#settle();
    });
    socket.on('error', (error) => {
      this.#closed = error;
    });
    socket.on('close', () => {
      this.#closed ??= new Error('the server closed the connection');
      this.#settle();
    });
  }

  static open(port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
        socket.off('error', reject);
        resolve(new HttpConnection(socket));
      });
      socket.once('error', reject);
    });
  }

  /** The number of received bytes that answer no request. */
  get surplus(): number {
    return this.#waiting === undefined ? this.#received.length : 0;
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /**
   * Waits for the next answer. @throws NoAnswer if the connection closes or `milliseconds` pass before it is
   * complete.
   */
  answer(milliseconds: number): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(
        () => this.#waiting?.reject(new NoAnswer(`no answer within ${milliseconds} ms`)),
        milliseconds,
      );
      const end = () => {
        clearTimeout(timer);
        this.#waiting = undefined;
      };
      this.#waiting = {
        resolve: (answer) => {
          end();
          resolve(answer);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      this.#settle();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #settle(): void {
    if (this.#waiting === undefined) return;
    const found = parseAnswer(this.#received);
    if (found !== undefined) {
      this.#received = this.#received.subarray(found.bytes);
      this.#waiting.resolve(found.answer);
    } else if (this.#closed !== undefined) {
      this.#waiting.reject(new NoAnswer(this.#closed.message));
    }
  }
}

/**
 * Parses the answer at the start of `bytes` and returns its length too. Returns undefined while it is
 * incomplete.
 */
function parseAnswer(bytes: Buffer): { answer: Answer; bytes: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body =
    headers.get('transfer-encoding') === 'chunked'
      ? parseChunks(bytes, headEnd + 4)
      : parseLength(bytes, headEnd + 4, Number(headers.get('content-length')));
  return body && { answer: { status, headers, body: body.text }, bytes: body.end };
}

interface Body {
  readonly text: string;
  /** The offset of the next answer. */
  readonly end: number;
}

function parseLength(bytes: Buffer, start: number, length: number): Body | undefined {
  const end = start + length;
  return bytes.length < end ? undefined : { text: bytes.toString('utf8', start, end), end };
}

function parseChunks(bytes: Buffer, start: number): Body | undefined {
  const parts: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const end = lineEnd + 2 + length + 2;
    if (bytes.length < end) return undefined;
    if (length === 0) return { text: Buffer.concat(parts).toString('utf8'), end };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = end;
  }
}

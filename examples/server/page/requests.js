// Talking to the server: JSON requests, and events read from the answer of a POST (EventSource can only GET).

/** @param {string} path @param {object} body @param {AbortSignal} signal @param {string} accept */
async function post(path, body, signal, accept) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) {
    const { error } = await response.json();
    const later = response.headers.get('retry-after');
    throw new Error(later === null ? error.message : `the server is busy; try again in ${later} s`);
  }
  return response;
}

/** @param {string} path @param {object} body @param {AbortSignal} signal */
export async function ask(path, body, signal) {
  const response = await post(path, body, signal, 'application/json');
  return response.json();
}

/**
 * Calls `onFrame` with the data of each event `frame` and returns that of `done`; throws the message of `error`.
 * @param {string} path @param {object} body @param {AbortSignal} signal @param {(frame: any) => void} onFrame
 */
export async function stream(path, body, signal, onFrame) {
  const response = await post(path, body, signal, 'text/event-stream');
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of /** @type {ReadableStream<Uint8Array>} */ (response.body)) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split('\n\n');
    text = /** @type {string} */ (events.pop());
    for (const event of events) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
      if (name === 'frame') onFrame(JSON.parse(/** @type {string} */ (data)));
      if (name === 'done') return JSON.parse(/** @type {string} */ (data));
      if (name === 'error') throw new Error(JSON.parse(/** @type {string} */ (data)).message);
    }
  }
  throw new Error('the server ended the stream before the image was done');
}

export async function healthOf() {
  const response = await fetch('/healthz', { cache: 'no-store' });
  return response.json();
}

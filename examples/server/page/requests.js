// Sends JSON requests to the server and reads events from the answer to a POST, which EventSource cannot do.

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
 * Calls `onFrame` with the data of each event `frame` and returns the data of the event `done`. Throws an
 * Error with the message of the event `error`.
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

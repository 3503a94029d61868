// Lists bad values for each kind of argument (reliability.md 2.5).
import { PixelCNN } from '../../src/index.js';

const detachedBytes = () => {
  const bytes = new Uint8Array(16);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};
const throwing = {
  valueOf() {
    throw new Error('valueOf was called');
  },
};
const circular: { self?: unknown } = {};
circular.self = circular;

const notNumbers = [
  '3',
  '',
  null,
  true,
  3n,
  [],
  [3],
  {},
  Symbol('s'),
  () => 3,
  new Proxy({}, {}),
  throwing,
  new Date(3),
];
const notObjects = [null, true, 3, 'x', 3n, Symbol('s'), () => ({})];
const numbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 2 ** 53, 1e300];

export const badValues = {
  /** Integers of at least 1. */
  integer: [...notNumbers, ...numbers, 1.5, 0],
  /** Integers of at least 0. */
  count: [...notNumbers, ...numbers, 1.5],
  number: [...notNumbers, ...numbers],
  seed: [...notNumbers.filter((value) => typeof value !== 'bigint'), ...numbers, 1.5, -1n, 2n ** 64n],
  choice: ['', 'x', 'constructor', '__proto__', null, 3, true, [], {}, Symbol('s')],
  signal: [
    null,
    true,
    3,
    'x',
    {},
    [],
    { aborted: false },
    new AbortController(),
    Object.create(AbortSignal.prototype).x ?? 0,
  ],
  floats: [
    null,
    3,
    'x',
    [],
    [1, 2],
    {},
    new Float64Array(16),
    new ArrayBuffer(64),
    new DataView(new ArrayBuffer(64)),
    new Float32Array(0),
    new Float32Array(new SharedArrayBuffer(4)),
    new Float32Array(3),
  ],
  labels: [
    null,
    true,
    3n,
    {},
    Symbol('s'),
    () => 3,
    [],
    [null],
    [[1]],
    [3n],
    Number.NaN,
    -1,
    1.5,
    2 ** 53,
    'no class of this name',
    new Uint8Array(0),
    new Uint8Array(new SharedArrayBuffer(1)),
    new Int32Array(1),
    new Float32Array(1),
  ],
  condition: [
    ...notObjects,
    {},
    [],
    circular,
    { classes: 0 },
    { classes: '3' },
    { classes: 65_536 },
    { classes: 2, map: 3 },
    { features: 1.5 },
    { map: 2 ** 15 },
    { none: true },
    { classes: 2, none: 1 },
    { klasses: 2 },
  ],
  bytes: [
    null,
    3,
    'x',
    [],
    [1, 2],
    {},
    new Int8Array(16),
    new Uint8ClampedArray(16),
    new ArrayBuffer(16),
    new Uint8Array(0),
    new Uint8Array(new SharedArrayBuffer(16)),
    detachedBytes(),
    new Uint8Array(3),
  ],
  shape: [
    null,
    3,
    'x',
    {},
    [],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [1, 2, 2, -1],
    [0, 2, 2, 1],
    [1, 2, 2, 1.5],
    [1, '2', 2, 1],
    [1, 2, 2, Number.NaN],
    [2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20],
    [1, 2, 2, 2],
  ],
  object: [...notObjects, [], circular, { unknownOption: 1 }, Object.freeze({ unknownOption: 1 })],
  device: [...notObjects, {}, [], { info: {} }, Object.create(PixelCNN.prototype), new Proxy({}, {})],
  images: [
    ...notObjects,
    {},
    [],
    circular,
    ...(
      [
        { data: [1] },
        { data: new Uint8Array(15) },
        { data: detachedBytes() },
        { data: new Uint8Array(new SharedArrayBuffer(16)) },
        { data: new Int8Array(16) },
        { count: 0 },
        { count: 1.5 },
        { height: -1 },
        { width: '4' },
        { channels: 0 },
        { channels: 2, data: new Uint8Array(32) },
        { height: 2 ** 30, width: 2 ** 30 },
        { count: Number.NaN },
        { labels: 3 },
      ] as object[]
    ).map((change) => {
      return { data: new Uint8Array(16), count: 1, height: 4, width: 4, channels: 1, ...change };
    }),
  ],
  /** A folder or a file name that is optional; nothing here may be made. */
  folder: [null, 3, true, {}, [], Symbol('s'), '', '/dev/null/x', `/dev/null/${'x'.repeat(5000)}`],
  path: [null, 3, true, {}, [], Symbol('s'), '', 'a\0b', '/', '/no/such/folder/file', `/${'x'.repeat(5000)}`],
} as const;
export type Kind = keyof typeof badValues;

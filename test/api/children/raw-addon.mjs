// Calls every function of the addon with every bad argument, past the TypeScript layer. Prints counts as JSON.
import { native } from '../../../dist/device/native.js';

const addon = native();
const device = await addon.openDevice('cpu', 0, 1, '');
const closed = await addon.openDevice('cpu', 0, 1, '');
const closedArena = await addon.allocateArena(closed, 256);
await addon.closeDevice(closed);
const arena = await addon.allocateArena(device, 1024);
const released = await addon.allocateArena(device, 1024);
addon.releaseArena(released);
const foreign = await addon.openDevice('cpu', 0, 1, '');
const foreignArena = await addon.allocateArena(foreign, 1024);
// zero(64 floats at block 0), fed at block 1 and returned from block 0.
const commands = Int32Array.of(
  addon.opTable.findIndex(({ name }) => name === 'zero'),
  3,
  64,
  0,
  0,
);
const make = () => addon.createProgram(commands, [arena], Int32Array.of(0, 1, 8), Int32Array.of(0, 0, 256));
const program = make();
const releasedProgram = make();
addon.releaseProgram(releasedProgram);

const detached = (view) => {
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
};
const throwing = {
  valueOf: () => {
    throw new Error('valueOf was called');
  },
  toString: () => 'x',
};
const junk = [
  undefined,
  null,
  true,
  3n,
  Symbol('s'),
  {},
  () => {},
  new Proxy({}, {}),
  throwing,
  new Date(),
  /x/,
];
const handles = { device, arena, program };
const others = (kind) =>
  Object.entries(handles)
    .filter(([name]) => name !== kind)
    .map(([, handle]) => handle);
const disguised = (handle) => [
  Object.create(handle),
  { ...handle },
  new Proxy(handle, {}),
  Object.freeze({}),
];
const bad = {
  device: [...junk, 'cpu', 0, [], ...others('device'), ...disguised(device)],
  arena: [...junk, 'x', 0, [], ...others('arena'), ...disguised(arena)],
  program: [...junk, 'x', 0, [], ...others('program'), ...disguised(program), releasedProgram],
  integer: [...junk, '3', '', [], [3], NaN, Infinity, -Infinity, -1, 1.5, 2 ** 53, -(2 ** 53), 1e300],
  string: [...junk, 3, [], new String('cpu')],
  ints: [
    ...junk,
    'x',
    3,
    [],
    [1, 2],
    new Uint32Array(9),
    new Float32Array(9),
    new Int16Array(9),
    new ArrayBuffer(36),
    new DataView(new ArrayBuffer(36)),
    new Int32Array(new SharedArrayBuffer(36)),
    detached(new Int32Array(9)),
  ],
  bytes: [
    ...junk,
    'xxxxxxxx',
    3,
    [],
    [1, 2],
    new ArrayBuffer(8),
    new SharedArrayBuffer(8),
    new Uint8Array(new SharedArrayBuffer(8)),
    new DataView(new SharedArrayBuffer(8)),
    detached(new Uint8Array(8)),
  ],
  list: [...junk, 'x', 3, { length: 1, 0: new Uint8Array(8) }, new Uint8Array(8), new Set([1])],
};
bad.inputList = [
  ...bad.list,
  [],
  [new Uint8Array(7)],
  [new Uint8Array(9)],
  [new Uint8Array(0)],
  new Array(1),
  [new Uint8Array(8), new Uint8Array(8)],
  ...bad.bytes.map((value) => [value]),
];
bad.arenas = [
  ...bad.list,
  [],
  new Array(1),
  [released],
  [arena, foreignArena],
  ...bad.arena.map((value) => [value]),
];

// Per function: its arguments' kinds, valid values of them, and bad values that only this function has.
const filter = () => Int32Array.of(1, 8, 3, 3, 1, 1, 1, 1, 1, 0, 0);
const none = () => new Int32Array(0);
const table = {
  openDevice: {
    kinds: ['string', 'integer', 'integer', 'string'],
    valid: () => ['cpu', 0, 1, ''],
    more: [['', 'gpu', 'cpu\0', 'CPU'], [1024, 99], [1025], ['sse', 'avx512\0', 'x'.repeat(1e5)]],
  },
  cudnnReport: { kinds: [], valid: () => [] },
  deviceInfo: { kinds: ['device'], valid: () => [device] },
  closeDevice: {
    kinds: ['device'],
    valid: async () => [await addon.openDevice('cpu', 0, 1, '')],
    more: [[closed]],
  },
  packedBytes: {
    kinds: ['device', 'ints', 'integer'],
    valid: () => [device, filter(), 0],
    more: [
      [],
      [
        none(),
        Int32Array.of(1, 8, 3, 3, 1, 1, 1, 1, 1),
        new Int32Array(11),
        new Int32Array(10),
        ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((i) => [-1, 1 << 30].map((v) => filter().with(i, v))),
        filter().with(5, 4),
        filter().with(7, 2),
      ],
      [2],
    ],
  },
  allocateArena: {
    kinds: ['device', 'integer'],
    valid: () => [device, 256],
    more: [[closed], [2 ** 39 + 1]],
  },
  releaseArena: { kinds: ['arena'], valid: () => [released] },
  writeArena: {
    kinds: ['arena', 'integer', 'bytes'],
    valid: () => [arena, 0, new Uint8Array(8)],
    more: [[released, closedArena], [1017, 2 ** 39], [new Uint8Array(1025)]],
  },
  readArena: {
    kinds: ['arena', 'integer', 'integer'],
    valid: () => [arena, 0, 8],
    more: [
      [released, closedArena],
      [1017, 2 ** 39],
      [1025, 2 ** 39],
    ],
  },
  createProgram: {
    kinds: ['ints', 'arenas', 'ints', 'ints'],
    valid: () => [commands, [arena], none(), none()],
    more: [
      [
        Int32Array.of(0),
        Int32Array.of(99, 0),
        commands.with(2, 65536),
        commands.with(3, 1),
        commands.with(4, 4),
      ],
      [],
      [Int32Array.of(0), Int32Array.of(0, 0, -1), Int32Array.of(0, 4, 1), Int32Array.of(1, 0, 1)],
      [Int32Array.of(0, 0), Int32Array.of(0, 0, 1025), Int32Array.of(0, -1, 1), Int32Array.of(-1, 0, 1)],
    ],
  },
  releaseProgram: { kinds: ['program'], valid: () => [make()], allowed: [releasedProgram] },
  runProgram: {
    kinds: ['program', 'inputList', 'integer'],
    valid: () => [program, [new Uint8Array(8)], 1],
    more: [[], [], [0, 2 ** 24 + 1]],
  },
  traceProgram: { kinds: ['program', 'inputList'], valid: () => [program, [new Uint8Array(8)]] },
  programChoices: { kinds: ['program'], valid: () => [program] },
  programWorkspace: { kinds: ['program'], valid: () => [program] },
};

const result = { calls: 0, codes: {}, wrong: [], functions: Object.keys(table).length };
const describe = (value) => {
  try {
    return ArrayBuffer.isView(value) ? `${value.constructor.name}[${value}]` : String(value).slice(0, 60);
  } catch {
    return typeof value;
  }
};
async function call(name, args, what, mustFail) {
  result.calls += 1;
  try {
    await addon[name](...args);
    if (mustFail) result.wrong.push(`${name}(${what}) worked`);
  } catch (error) {
    const fine = error instanceof Error && typeof error.code === 'string' && error.message.length > 8;
    if (!fine || !mustFail) result.wrong.push(`${name}(${what}): ${error?.stack ?? String(error)}`);
    if (fine) result.codes[error.code] = (result.codes[error.code] ?? 0) + 1;
  }
}

for (const [name, value] of Object.entries(addon)) {
  if (typeof value === 'function' && !(name in table)) result.wrong.push(`${name} is not in the table`);
}
for (const [name, { kinds, valid, more = [], allowed = [] }] of Object.entries(table)) {
  await call(name, await valid(), 'valid arguments', false);
  for (let count = 0; count < kinds.length; count += 1) {
    await call(name, (await valid()).slice(0, count), `only ${count} arguments`, true);
    for (const value of [...bad[kinds[count]], ...(more[count] ?? [])]) {
      if (allowed.includes(value)) continue;
      await call(name, (await valid()).with(count, value), `argument ${count} = ${describe(value)}`, true);
    }
  }
  await call(name, [...(await valid()), 'one too many'], 'an argument too many', false);
  // Called as a constructor or on another object: an error or a result, never a crash.
  try {
    Reflect.construct(addon[name], await valid());
    addon[name].apply(Object.create(null), await valid());
  } catch (error) {
    if (!(error instanceof Error)) result.wrong.push(`new ${name} threw ${String(error)}`);
  }
}

// Arrays that change while they are read.
const growing = [new Uint8Array(8)];
Object.defineProperty(growing, 0, {
  get: () => {
    for (let i = 0; i < 50; i += 1) growing.push(new Uint8Array(8));
    return new Uint8Array(8);
  },
});
// One input when the call began, so that one is read.
await call('runProgram', [program, growing, 1], 'inputs that grow while they are read', false);
const releasing = [0];
const victim = make();
Object.defineProperty(releasing, 0, {
  get: () => {
    addon.releaseProgram(victim);
    return new Uint8Array(8);
  },
});
await Promise.resolve()
  .then(() => addon.runProgram(victim, releasing, 1))
  .catch((error) => typeof error.code === 'string' || result.wrong.push(`releasing inputs: ${error.stack}`));
const detaching = Int32Array.from(commands);
const arenas = [0];
Object.defineProperty(arenas, 0, {
  get: () => {
    detached(detaching);
    return arena;
  },
});
await call('createProgram', [detaching, arenas, none(), none()], 'commands detached by a getter', true);

// A view whose buffer shrinks after the call does not matter: inputs are copied first.
const shrinking = new ArrayBuffer(8, { maxByteLength: 16 });
const run = addon.runProgram(program, [new Uint8Array(shrinking)], 1);
shrinking.resize(0);
await run;

await addon.closeDevice(device);
for (const [name, args] of [
  ['runProgram', [program, [new Uint8Array(8)], 1]],
  ['readArena', [arena, 0, 8]],
  ['allocateArena', [device, 8]],
  ['closeDevice', [device]],
  ['traceProgram', [program, [new Uint8Array(8)]]],
]) {
  await call(name, args, 'after closeDevice', true);
}
await addon.closeDevice(foreign);
console.log(JSON.stringify(result));

// Reads kernels from a cubin: how many instructions of each kind they have, and how many a round of their main loop
// takes. It also reads what ptxas reported about their registers. It needs no tool of NVIDIA, not even CUDA's
// disassembler.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fail } from '../steps.mjs';

/**
 * From sm_70 on an instruction is 16 bytes. Its lowest 9 bits say what it does, the next 3 where its operands come
 * from. NVIDIA does not document them: these are the ones that its disassembler names so.
 */
const kinds = new Map([
  [0x03c, 'HMMA'], // matrix product
  [0x03b, 'LDSM'], // ldmatrix
  [0x1ae, 'LDGSTS'], // cp.async
  [0x183, 'LDL'], // local memory: what does not fit into registers
  [0x187, 'STL'],
  [0x180, 'LD'], // a generic address: the compiler did not see which memory it is
  [0x185, 'ST'],
  [0x188, 'STS'], // store to shared memory
  [0x147, 'BRA'],
]);
const vectorSize = 6; // of 16 bytes
const throughL1 = 1n << 17n; // a copy without BYPASS, in the upper half of the instruction

/** Reads every kernel of a cubin; `kernel` is its readable name. */
export function readKernels({ cubin, log, architecture }) {
  const sections = sectionsOf(readFileSync(cubin));
  const resources = readResources(log);
  const symbols = [...sections.keys()]
    .filter((name) => name.startsWith('.text.'))
    .map((name) => name.slice(6));
  const names = readableNames(symbols);
  return symbols.map((symbol, index) => {
    const ptxas = resources.get(symbol);
    if (ptxas === undefined) fail(`${cubin}: ptxas said nothing of ${names[index]}.`);
    return {
      kernel: names[index],
      ...ptxas,
      threads: mostThreads(sections.get(`.nv.info.${symbol}`)),
      ...census(sections.get(`.text.${symbol}`), architecture),
    };
  });
}

/** Returns the sections of a 64-bit ELF file by name. */
function sectionsOf(file) {
  const [headers, size, count, nameIndex] = [
    Number(file.readBigUInt64LE(0x28)),
    file.readUInt16LE(0x3a),
    file.readUInt16LE(0x3c),
    file.readUInt16LE(0x3e),
  ];
  const header = (index) => file.subarray(headers + index * size, headers + (index + 1) * size);
  const content = (entry) => {
    const offset = Number(entry.readBigUInt64LE(24));
    return file.subarray(offset, offset + Number(entry.readBigUInt64LE(32)));
  };
  const names = content(header(nameIndex));
  const sections = new Map();
  for (let index = 1; index < count; index += 1) {
    const start = header(index).readUInt32LE(0);
    sections.set(names.toString('latin1', start, names.indexOf(0, start)), content(header(index)));
  }
  return sections;
}

/**
 * Reads registers, stack, spills and static shared memory by symbol from the output of `ptxas -v`. A kernel that calls a
 * function of CUDA's mathematics is followed by the frame of that function.
 */
function readResources(log) {
  const resources = new Map();
  let [kernel, frameOf] = [undefined, undefined];
  for (const line of log.split('\n')) {
    kernel = /Compiling entry function '(\w+)'/.exec(line)?.[1] ?? kernel;
    frameOf = /Function properties for (\w+)/.exec(line)?.[1] ?? frameOf;
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (frame !== null)
      resources.set(frameOf, { stack: Number(frame[1]), spill: Number(frame[2]) + Number(frame[3]) });
    const used = /Used (\d+) registers/.exec(line);
    if (used !== null)
      Object.assign(resources.get(kernel), {
        registers: Number(used[1]),
        staticShared: Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0),
      });
  }
  return resources;
}

/**
 * Reads the threads that __launch_bounds__ promises; undefined without them. Attributes are u8 format, u8 kind and,
 * in format 4, a u16 size and as many bytes; else 2 bytes.
 */
function mostThreads(info) {
  const maxThreads = 0x05;
  for (let at = 0; at < info.length; ) {
    const [format, kind] = [info[at], info[at + 1]];
    if (format === 4 && kind === maxThreads) return info.readUInt32LE(at + 4);
    at += format === 4 ? 4 + info.readUInt16LE(at + 2) : 4;
  }
  return undefined;
}

/** Counts instructions of each kind, LDGSTS of 16 bytes and those of them through L1 apart, and those of a main round. */
function census(text, architecture) {
  const counts = Object.fromEntries([...kinds.values()].map((kind) => [kind, 0]));
  const products = [];
  const copies = new Set();
  const branches = new Map();
  let [vectorCopies, copiesThroughL1] = [0, 0];
  const length = text.length / 16;
  for (let at = 0; at < length; at += 1) {
    const low = text.readBigUInt64LE(at * 16);
    const high = text.readBigUInt64LE(at * 16 + 8);
    const kind = kinds.get(Number(low & 0x1ffn));
    if (kind === undefined) continue;
    counts[kind] += 1;
    if (kind === 'HMMA') products.push(at);
    if (kind === 'LDGSTS' || kind === 'STS') copies.add(at);
    if (kind === 'LDGSTS' && Number((high >> 9n) & 7n) === vectorSize) {
      vectorCopies += 1;
      if ((high & throughL1) !== 0n) copiesThroughL1 += 1;
    }
    if (kind === 'BRA') {
      const target = at + 1 + branchOffset(low, high, architecture);
      if (!Number.isInteger(target) || target < 0 || target >= length)
        fail(`A branch of sm_${architecture} is not encoded as scripts/kernel-gates/cubin.mjs knows it.`);
      branches.set(at, { target, always: isAlways(low, high) });
    }
  }
  return {
    instructions: length,
    ...counts,
    vectorCopies,
    copiesThroughL1,
    loop: mainLoop(branches, products, copies),
  };
}

/** Reads a branch's distance in instructions after it. The field counts words of 4 bytes, since sm_90 in two pieces. */
function branchOffset(low, high, architecture) {
  const upper = Number(BigInt.asIntN(48, ((high & 0x3ffffn) << 30n) | (low >> 34n)));
  return (architecture >= 90 ? upper * 256 + Number((low >> 16n) & 0xffn) : upper) / 4;
}

/** Says whether a branch is always taken: its guard and its second predicate, if any, are PT (7), which is true. */
function isAlways(low, high) {
  return ((low >> 12n) & 0xfn) === 7n && ((high >> 23n) & 0xfn) === 7n;
}

/**
 * Counts the instructions of one round of the innermost loop around all `products`, on the path that copies most and, of
 * those, is the shortest: where there is a fast and a slow path, the fast one. Inner loops, which copy element by
 * element, count once.
 */
function mainLoop(branches, products, copies) {
  if (products.length === 0) return 0;
  // The last branch of every kernel jumps to itself, and nothing reaches it.
  const around = [...branches]
    .map(([at, { target }]) => ({ begin: target, end: at }))
    .filter(({ begin, end }) => begin < end && begin <= products[0] && end > products.at(-1))
    .sort((a, b) => a.end - a.begin - (b.end - b.begin))[0];
  if (around === undefined) return 0;
  // One pass finds the best path from the loop's begin to each instruction, because branches back are left out.
  const best = new Map([[around.begin, { copied: 0, length: 0 }]]);
  const reach = (at, way) => {
    const known = best.get(at);
    if (
      known === undefined ||
      way.copied > known.copied ||
      (way.copied === known.copied && way.length < known.length)
    )
      best.set(at, way);
  };
  for (let at = around.begin; at < around.end; at += 1) {
    const before = best.get(at);
    if (before === undefined) continue;
    const way = { copied: before.copied + (copies.has(at) ? 1 : 0), length: before.length + 1 };
    const branch = branches.get(at);
    if (branch === undefined || !branch.always || branch.target <= at) reach(at + 1, way);
    if (branch !== undefined && branch.target > at) reach(branch.target, way);
  }
  return best.get(around.end).length + 1;
}

const precisions = ['f32', 'tf32', 'bf16', 'f16'];
const directions = ['forward', 'backward'];
const copies = ['vectors', 'elements'];

/** Shortens a name to `convolve<bf16, forward, LargeTile, ImagePixels>`, without namespaces and arguments. */
function readableNames(symbols) {
  if (symbols.length === 0) return [];
  const run = spawnSync('c++filt', { input: `${symbols.join('\n')}\n`, encoding: 'utf8' });
  if (run.status !== 0) fail('Reading names of kernels needs c++filt, which comes with g++ (binutils).');
  return run.stdout
    .trimEnd()
    .split('\n')
    .map((name) =>
      name
        .replaceAll('(anonymous namespace)::', '')
        .replace(/pixelcnn::(cuda::)?/g, '')
        .replace(/\(Precision\)(\d)/g, (_, value) => precisions[value])
        .replace(/\(Direction\)(\d)/g, (_, value) => directions[value])
        .replace(/\(Copies\)(\d)/g, (_, value) => copies[value])
        .replace(/^void /, '')
        .replace(/\(.*$/, ''),
    );
}

// Reads from a binary what it needs where it is loaded: libraries, symbol versions, search path, stack, GPU
// architectures.
import { readFileSync } from 'node:fs';
import { outputOf } from '../steps.mjs';

/** Reads an ELF file with readelf (binutils). Returns undefined for a file of another kind. */
export function inspectElf(file) {
  const text = outputOf('readelf', [
    '--file-header',
    '--program-headers',
    '--dynamic',
    '--version-info',
    '--wide',
    file,
  ]);
  if (text === undefined) return undefined;
  const all = (pattern) => [...text.matchAll(pattern)].map((match) => match[1]);
  return {
    machine: all(/^ +Machine: +(.*)$/gm)[0],
    needed: all(/\(NEEDED\).*\[(.*)\]/g),
    searchPath: all(/\((?:RUNPATH|RPATH)\).*\[(.*)\]/g),
    /** Flags of the stack segment, e.g. `RW`; undefined means that the loader makes it executable. */
    stack: all(/^ +GNU_STACK(?: +0x\w+){5} +([RWE ]+?) +0x/gm)[0],
    glibc: newest(all(/Name: GLIBC_([\d.]+)/g)),
    libstdcxx: newest(all(/Name: GLIBCXX_([\d.]+)/g)),
    undefinedSymbols: undefinedSymbols(file),
    gpuArchitectures: gpuArchitectures(file),
  };
}

/** Compares dotted version numbers. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function newest(versions) {
  return versions.toSorted(compareVersions).at(-1);
}

/** Lists undefined symbols that are not versioned symbols of a system library. Weak symbols may stay undefined. */
function undefinedSymbols(file) {
  const symbols = outputOf('nm', ['--dynamic', '--undefined-only', file])?.split('\n') ?? [];
  return symbols.map((line) => / U ([^@\s]+)$/.exec(line)?.[1]).filter((name) => name !== undefined);
}

/** Lists `sm_80` for machine code and `compute_80` for PTX in the fat binaries of a CUDA library, sorted. */
function gpuArchitectures(file) {
  const sections = outputOf('readelf', ['--section-headers', '--wide', file]) ?? '';
  const bytes = readFileSync(file);
  const found = new Set();
  for (const [, offset, size] of sections.matchAll(
    / (?:\.nv_fatbin|__nv_relfatbin) +\w+ +\w+ +(\w+) +(\w+)/g,
  )) {
    const start = Number.parseInt(offset, 16);
    readFatbin(bytes.subarray(start, start + Number.parseInt(size, 16)), found);
  }
  return [...found].sort();
}

const fatbinMagic = Buffer.from([0x50, 0xed, 0x55, 0xba]);

/**
 * Adds the architectures in a section to `found`. A fat binary has a magic number, u16 version, u16 header size and u64
 * size, and then entries of u16 kind, …, u32 header size, u64 size.
 */
function readFatbin(section, found) {
  let at = section.indexOf(fatbinMagic);
  while (at >= 0) {
    let entry = at + section.readUInt16LE(at + 6);
    const end = entry + Number(section.readBigUInt64LE(at + 8));
    while (entry + 32 <= end) {
      const kind = section.readUInt16LE(entry) === 1 ? 'compute_' : 'sm_';
      found.add(`${kind}${section.readUInt32LE(entry + 28)}`);
      entry += section.readUInt32LE(entry + 4) + Number(section.readBigUInt64LE(entry + 8));
    }
    at = section.indexOf(fatbinMagic, end);
  }
}

// Computes what the source of a kernel that multiplies matrices implies: its threads and shared memory, and how
// many HMMA, LDSM and LDGSTS a compiler must make of BlockTile in cuda/tile.h if it neither repeats nor drops any.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../steps.mjs';

/**
 * Kernels that multiply in block tiles. The name says which tile a kernel has and how it copies, operand b as `bCopies` if
 * that is there. `a` and `b`: whether the lines of an operand lie along or across the depth. `aThroughL1`: operand a is
 * copied through L1. `bWays`: how many ways to copy b the source has; a launch takes one of them.
 */
const forms = [
  {
    kernel: /^convolve(_and_add)?<(?<precision>\w+), forward, (?<tile>\w+), ImagePixels, (?<copies>\w+)>$/,
    a: 'along',
    b: 'along',
    aThroughL1: true,
  },
  {
    kernel:
      /^convolve(_and_add)?<(?<precision>\w+), forward, (?<tile>\w+), (Front|Row)Pixels, (?<copies>\w+)>$/,
    a: 'along',
    b: 'along',
  },
  {
    kernel: /^convolve(_and_add)?<(?<precision>\w+), backward, (?<tile>\w+), ImagePixels, (?<copies>\w+)>$/,
    a: 'along',
    b: 'across',
    aThroughL1: true,
    bWays: 2,
  },
  {
    kernel: /^weight_gradient<(?<precision>\w+), (?<tile>\w+), (?<copies>\w+), (?<bCopies>\w+)>$/,
    a: 'across',
    b: 'across',
    aThroughL1: true,
  },
  // Behind the stages lie the logits: a float for each row of 256 levels and 4 of padding.
  {
    kernel: /^sample_front_kernel<(?<precision>\w+), (?<copies>\w+)>$/,
    tile: 'SampleTile',
    a: 'along',
    b: 'along',
    behind: ({ rows }) => rows * (256 + 4) * 4,
  },
];

/** Reads the tiles that files in `folder` define, by name. */
export function readTiles(folder) {
  const tiles = new Map();
  for (const file of readdirSync(folder).filter((name) => /\.(h|cu)$/.test(name))) {
    for (const [, name, body] of readFileSync(join(folder, file), 'utf8').matchAll(
      /^struct (\w+Tile) \{([^}]*)\}/gm,
    )) {
      const number = (constant) => Number(new RegExp(`\\bk${constant} = (\\d+)[,;]`).exec(body)?.[1]);
      const tile = {
        rows: number('Rows'),
        columns: number('Columns'),
        warpRows: number('WarpRows'),
        warpColumns: number('WarpColumns'),
        depthBytes: number('DepthBytes'),
        stages: number('Stages'),
      };
      if (!Object.values(tile).some(Number.isNaN)) tiles.set(name, tile);
    }
  }
  return tiles;
}

/** Computes what the source implies for a kernel; undefined if it does not multiply matrices by BlockTile. */
export function productOf(kernel, tiles) {
  const form = forms.find((candidate) => candidate.kernel.test(kernel));
  if (form === undefined) return undefined;
  const groups = form.kernel.exec(kernel).groups;
  const { precision, copies, bCopies = copies, tile: name = form.tile } = groups;
  const tile = tiles.get(name);
  if (tile === undefined) fail(`${kernel}: no file defines ${name} by the six constants of a tile.`);
  const bytes = precision === 'f32' || precision === 'tf32' ? 4 : 2;
  const threads = (32 * tile.rows * tile.columns) / (tile.warpRows * tile.warpColumns);
  const depth = tile.depthBytes / bytes;
  const a = operand(tile.rows, depth, form.a, bytes, threads);
  const b = operand(tile.columns, depth, form.b, bytes, threads);

  const pieces = tile.depthBytes / 32; // of the depth, one HMMA each
  const [rowTiles, columnPairs] = [tile.warpRows / 16, tile.warpColumns / 16];
  // ldmatrix moves 16-bit values: it transposes them on the way, but not 32-bit ones.
  const byLdmatrix = (lines) => lines === 'along' || bytes === 2;
  const tensorCores = precision !== 'f32';
  return {
    precision,
    threads,
    shared: tile.stages * (a.bytes + b.bytes) + (form.behind?.(tile) ?? 0),
    HMMA: tensorCores ? pieces * rowTiles * columnPairs * 2 : 0,
    LDSM: tensorCores
      ? pieces * ((byLdmatrix(form.a) ? rowTiles : 0) + (byLdmatrix(form.b) ? columnPairs : 0))
      : 0,
    // A stage is filled in two places: before the loop and in it.
    vectorCopies:
      2 *
      ((copies === 'vectors' ? a.copies : 0) + (bCopies === 'vectors' ? (form.bWays ?? 1) * b.copies : 0)),
    copiesThroughL1: copies === 'vectors' && form.aThroughL1 ? 2 * a.copies : 0,
  };
}

/** Computes the bytes of one stage of an operand and the 16-byte vectors of a thread (OperandTile in cuda/tile.h). */
function operand(rows, depth, lines, bytes, threads) {
  const [count, elements] = lines === 'along' ? [rows, depth] : [depth, rows];
  const vector = 16 / bytes;
  const padding = bytes === 4 && lines === 'across' ? 8 : vector;
  return { bytes: count * (elements + padding) * bytes, copies: (count * elements) / vector / threads };
}

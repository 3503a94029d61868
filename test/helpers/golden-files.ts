// Reads the golden vectors: files of test/golden/, and those too large for the repository in ../shared/oracle
// beside it.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { float32Of, parseSafetensors, type SafetensorsTensor } from '../../src/checkpoint/safetensors.js';

export const goldenFolder = fileURLToPath(new URL('../golden/', import.meta.url));
/** Where the files come from. A clone by itself lacks this folder. */
export const oracleFolder = fileURLToPath(new URL('../../../shared/oracle/', import.meta.url));

function pathOf(file: string): string | undefined {
  return [goldenFolder + file, oracleFolder + file].find((path) => existsSync(path));
}

/** Why a golden file cannot be used, or undefined when it can. */
export function goldenMissing(file: string): string | undefined {
  if (pathOf(file) !== undefined) return undefined;
  return `${file} is neither in test/golden nor in ../shared/oracle, where the files over 1 MB are`;
}

/** A golden safetensors file with its arrays by name. */
export class GoldenFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;

  constructor(file: string) {
    const path = pathOf(file);
    if (path === undefined) throw new Error(goldenMissing(file));
    const parsed = parseSafetensors(readFileSync(path), { file });
    this.metadata = parsed.metadata;
    this.tensors = parsed.tensors;
  }

  shape(name: string): number[] {
    return [...this.#tensor(name).shape];
  }

  /** Values as float32, in the order of the file. */
  values(name: string): Float32Array {
    const tensor = this.#tensor(name);
    if (tensor.dtype === 'U8') return Float32Array.from(tensor.data);
    if (tensor.dtype === 'I32') {
      const { buffer, byteOffset, byteLength } = tensor.data;
      return Float32Array.from(new Int32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
    }
    return float32Of(tensor);
  }

  /** A rank 4 tensor, NCHW in the file, as NHWC. */
  nhwc(name: string): Float32Array {
    const [n, c, h, w] = this.shape(name) as [number, number, number, number];
    const values = this.values(name);
    const result = new Float32Array(values.length);
    for (let b = 0; b < n; b += 1)
      for (let k = 0; k < c; k += 1)
        for (let p = 0; p < h * w; p += 1) result[(b * h * w + p) * c + k] = values[(b * c + k) * h * w + p]!;
    return result;
  }

  /** The tensors whose name starts with `prefix`, by the rest of their names. */
  startingWith(prefix: string): Map<string, SafetensorsTensor> {
    return new Map(
      [...this.tensors]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    );
  }

  #tensor(name: string): SafetensorsTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw new Error(`the golden file has no tensor '${name}'`);
    return tensor;
  }
}

/** Logits [B, levels, C, H, W] of the file in our order (N, H, W, C, levels). */
export function logitsOf(file: GoldenFile): Float32Array {
  const [n, levels, c, h, w] = file.shape('logits') as [number, number, number, number, number];
  const values = file.values('logits');
  const result = new Float32Array(values.length);
  for (let b = 0; b < n; b += 1)
    for (let v = 0; v < levels; v += 1)
      for (let k = 0; k < c; k += 1)
        for (let p = 0; p < h * w; p += 1)
          result[((b * h * w + p) * c + k) * levels + v] = values[((b * levels + v) * c + k) * h * w + p]!;
  return result;
}

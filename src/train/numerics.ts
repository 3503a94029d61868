// Describes what decides the last bits of a training run, so that a resumed run can say whether it is still the same.
import type { Device } from '../device/device.js';
import { z } from '../options.js';
import type { Algorithm } from '../program/algorithm.js';

/**
 * What decides the last bits of a training step, apart from the run's settings and images. The number of threads never
 * does. Two runs whose numerics are equal take the same steps bit for bit, with two exceptions that are not recorded: builds
 * by other compilers, and the plans that cuDNN chooses by timing anew where the cache of an earlier choice is gone.
 */
export interface Numerics {
  /** Version of the order in which the backend's kernels add. It is counted for each backend by itself. */
  readonly sums: number;
  /** `cpu` or `cuda`. */
  readonly backend: string;
  /** Instruction set of the kernels, e.g. `avx512` or `sm_90`. */
  readonly instructionSet: string;
  readonly precision: string;
  /** The `algorithm` of the run. On a GPU `direct` where `auto` and `winograd` compute the same as it does. */
  readonly algorithm: string;
  /** The cuDNN whose plans may compute convolutions and the GPU they are timed on, or `none`. */
  readonly plans: string;
}

const longestText = 200;
/** Printable ASCII, so that a hostile file cannot write control characters to a terminal. */
const text = z
  .string()
  .min(1)
  .max(longestText)
  .regex(/^[ -~]*$/, 'expected printable ASCII');

/** Checks the numerics in a file. Other names than those of today are accepted: a later release may have written them. */
export const numericsSchema = z.strictObject({
  sums: z.int().min(1),
  backend: text,
  instructionSet: text,
  precision: text,
  algorithm: text,
  plans: text,
}) satisfies z.ZodType<Numerics>;

/** Describes the numerics of training steps on `device`. */
export function numericsOf(device: Pick<Device, 'info' | 'sums'>, algorithm: Algorithm): Numerics {
  const { backend, instructionSet, precision } = device.info;
  const plans = plansOf(device.info);
  return {
    sums: device.sums,
    backend,
    instructionSet,
    precision,
    algorithm: algorithmOn(backend, plans, algorithm),
    plans,
  };
}

/**
 * Names the plans that may compute convolutions. They do even in a run with the algorithm `direct`, whose head is trained by
 * the fastest algorithm.
 */
function plansOf({ name, cudnn = 'none' }: Device['info']): string {
  if (cudnn.startsWith('none')) return 'none';
  const version = cudnn.split(' ')[0];
  return `cuDNN ${version} on ${name}`.replace(/[^ -~]/g, '?').slice(0, longestText);
}

/** Returns one name for the algorithms that give the same bits on a GPU. On the CPU all three may differ. */
function algorithmOn(backend: string, plans: string, algorithm: Algorithm): Algorithm {
  if (backend === 'cpu' || algorithm === 'direct') return algorithm;
  return plans === 'none' ? 'direct' : 'auto';
}

const names = {
  sums: 'sums version',
  backend: 'backend',
  instructionSet: 'instruction set',
  precision: 'precision',
  algorithm: 'algorithm',
  plans: 'cuDNN plans',
} as const satisfies Record<keyof Numerics, string>;
const keys = Object.keys(names) as (keyof Numerics)[];

/** Whether steps under both give the same bits. */
export function sameNumerics(one: Numerics, other: Numerics): boolean {
  return keys.every((key) => one[key] === other[key]);
}

/** Writes numerics as `sums version 2, backend cpu, instruction set avx512, …`. */
export function numericsText(numerics: Numerics): string {
  return keys.map((key) => `${names[key]} ${numerics[key]}`).join(', ');
}

/** Says what differs between two numerics: `instruction set avx2, now avx512; …`. */
export function numericsChangeText(from: Numerics, to: Numerics): string {
  const changed = keys.filter((key) => from[key] !== to[key]);
  return changed.map((key) => `${names[key]} ${from[key]}, now ${to[key]}`).join('; ');
}

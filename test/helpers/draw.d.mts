// Declares the types of draw.mjs.

import type { PixelCNN } from '../../src/pixelcnn.js';
import type { frontSteps } from '../../src/program/front.js';
import type { buildSampler } from '../../src/sample/front-sampler.js';
import type { passesOf } from '../../src/sample/passes.js';

export interface SamplerLibrary {
  readonly buildSampler: typeof buildSampler;
  readonly passesOf: typeof passesOf;
  readonly frontSteps: typeof frontSteps;
}

export function drawWithLogits(
  library: SamplerLibrary,
  model: PixelCNN,
  size: {
    readonly count: number;
    readonly height: number;
    readonly width: number;
    readonly program?: 'front' | 'block';
  },
  given?: {
    readonly index?: Uint32Array;
    readonly random?: Uint32Array;
    readonly temperature?: Float32Array;
    readonly condition?: Uint32Array | Float32Array;
    readonly guidance?: Float32Array;
  },
): Promise<{ readonly level: Uint8Array; readonly logits: Float32Array }>;

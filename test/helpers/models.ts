// Makes devices, small models and images for tests.
import { afterAll, beforeAll } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { bytesOfLevels } from '../../src/data/levels.js';
import { type Device, type DeviceOptions, openDevice } from '../../src/device/device.js';
import { PixelCnnError } from '../../src/errors.js';
import { networkOf } from '../../src/models/architectures.js';
import { conditionOf } from '../../src/models/condition.js';
import type { PixelCnnConfig, PixelCnnOptions } from '../../src/models/config.js';
import type { ImageConditions } from '../../src/models/given-condition.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { openGpu } from './cuda.js';
import { TestRandom } from './random.js';

/**
 * One device for a test file: opened before its tests, disposed after them. The CPU, or a GPU in strict float32 where
 * PIXELCNN_TEST_BACKEND is cuda.
 */
export function testDevice(options: DeviceOptions = {}): () => Device {
  let device: Device | undefined;
  beforeAll(async () => {
    const onGpu = process.env.PIXELCNN_TEST_BACKEND === 'cuda';
    device = onGpu ? await openGpu(options) : await openDevice({ backend: 'cpu', ...options });
  });
  afterAll(() => device?.dispose());
  return () => {
    if (device === undefined) throw new Error('the device is open only while tests run');
    return device;
  };
}

/** Why the CPU does not compute in bf16 here, or undefined if it does. */
export async function bf16Missing(): Promise<string | undefined> {
  try {
    await (await openDevice({ backend: 'cpu', threads: 1, precision: 'bf16' })).dispose();
    return undefined;
  } catch (error) {
    if (!(error instanceof PixelCnnError) || error.code !== 'ERR_PRECISION') throw error;
    return error.message;
  }
}

/** Opens a CPU device with the kernels of one instruction set; undefined where processor or build have none. */
export async function openCpu(instructionSet: string, threads: number): Promise<Device | undefined> {
  const before = process.env.PIXELCNN_CPU_ISA;
  if (instructionSet === '') delete process.env.PIXELCNN_CPU_ISA;
  else process.env.PIXELCNN_CPU_ISA = instructionSet;
  try {
    return await openDevice({ backend: 'cpu', threads });
  } catch (error) {
    if (!(error instanceof PixelCnnError) || error.code !== 'ERR_BACKEND_UNAVAILABLE') throw error;
    console.warn(`SKIPPED instruction set '${instructionSet}': ${error.message}`);
    return undefined;
  } finally {
    if (before === undefined) delete process.env.PIXELCNN_CPU_ISA;
    else process.env.PIXELCNN_CPU_ISA = before;
  }
}

/** Whether the initial values of a parameter are drawn, and not 0 as those of biases and of projections of conditions. */
const isDrawn = (name: string) => !/\.bias$|condition/.test(name);

/** A model whose weights and biases are all random: initial weights times `gain`, biases normal times 0.1. */
export async function randomModel(
  device: Device,
  options: PixelCnnOptions,
  seed: number,
  gain = 1,
): Promise<PixelCNN> {
  const config = parseConfig('test', options);
  const random = new TestRandom(seed);
  const parameters = await initialParameters(networkOf(config).parameters, seed);
  for (const [name, { data }] of parameters) {
    for (let i = 0; i < data.length; i += 1)
      data[i] = isDrawn(name) ? data[i]! * gain : random.normal() * 0.1;
  }
  return PixelCNN.load(device, encodeModel({ config, imageSize: undefined, weights: 'raw', parameters }));
}

export function randomImages(
  random: TestRandom,
  count: number,
  height: number,
  width: number,
  channels: number,
): ImageBatch {
  return { data: random.bytes(count * height * width * channels), count, height, width, channels };
}

/** Random conditions of the kind that a model of this configuration is given; nothing for one without a condition. */
export function randomConditions(
  random: TestRandom,
  config: Pick<PixelCnnConfig, 'condition'>,
  { count, height, width }: { readonly count: number; readonly height: number; readonly width: number },
): ImageConditions {
  const condition = conditionOf(config);
  if (condition === undefined) return {};
  const { kind, size } = condition;
  if (kind === 'classes')
    return { labels: Uint8Array.from({ length: count }, () => random.int(0, size - 1)) };
  return { [kind]: random.normals(count * size * (kind === 'map' ? height * width : 1)) };
}

/** The images [first, first + count) as a batch of their own. */
export function imagesOf(images: ImageBatch, first: number, count: number): ImageBatch {
  const size = images.height * images.width * images.channels;
  return { ...images, data: images.data.slice(first * size, (first + count) * size), count };
}

/** The image that the levels (n, h, w, channels) of a model stand for. */
export function imagesOfLevels(
  model: PixelCNN,
  level: Uint8Array,
  n: number,
  height: number,
  width: number,
): ImageBatch {
  const byteOf = bytesOfLevels(model.config.levels);
  const data = level.map((value) => byteOf[value]!);
  return { data, count: n, height, width, channels: model.config.channels };
}

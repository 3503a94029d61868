// Runs the checks of `pixelcnn doctor` that call native code, in a child process whose crash is reported as well.
import { openDevice } from '../device/device.js';
import { callNative, native } from '../device/native.js';
import { changedFiles, findBinary } from '../device/native-binary.js';
import { PixelCnnError } from '../errors.js';
import { maskedConv2d } from '../functional.js';
import { isLiveTap, squareWindow } from '../ops/window.js';
import { PixelCNN } from '../pixelcnn.js';
import type { Finding } from './commands/doctor.js';

/**
 * Runs a check and prints its finding as a line of JSON at once, because the next check may crash the
 * process.
 */
async function probe(name: string, body: () => Promise<string>, failure: 'failed' | 'note' = 'failed') {
  let finding: Finding;
  try {
    finding = { name, state: 'ok', text: await body() };
  } catch (error) {
    const text = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    const remedy = error instanceof PixelCnnError ? error.remedy : undefined;
    const fix = remedy ?? (failure === 'failed' ? 'report it with this output' : undefined);
    finding = { name, state: failure, text, ...(fix !== undefined && { fix }) };
  }
  process.stdout.write(`${JSON.stringify(finding)}\n`);
  return finding.state === 'ok';
}

/** Finds the file that is loaded, and compares its checksum with that of the published file. */
async function checkBinary(): Promise<string> {
  const file = findBinary();
  const changed = changedFiles(file);
  if (changed === undefined) return `${file}, built here`;
  if (changed.length === 0) return `${file}, SHA-256 as published`;
  throw new PixelCnnError(
    'ERR_CHECKSUM',
    `${changed.join(', ')} differs from what was published (loading ${file})`,
    {
      remedy: 'install pixelcnn again',
    },
  );
}

/** Compares the masked convolution with loops that follow its formula. */
async function checkConvolution(backend: 'cpu' | 'cuda'): Promise<string> {
  const [h, w, c, k, kernelSize] = [5, 6, 3, 6, 3];
  const filter = { c, k, window: squareWindow(kernelSize, 'B'), channelGroups: 3 };
  const fill = (length: number, factor: number) =>
    Float32Array.from({ length }, (_, i) => Math.sin(factor * (i + 1)));
  const [x, weight, bias] = [fill(h * w * c, 0.7), fill(k * c * kernelSize * kernelSize, 1.3), fill(k, 2.1)];
  await using device = await openDevice({ backend, precision: 'f32' });
  const y = await maskedConv2d(device, {
    input: x,
    inputShape: [1, h, w, c],
    weight,
    bias,
    outChannels: k,
    kernelSize,
    maskType: 'B',
    channelGroups: 3,
  });
  let worst = 0;
  for (let at = 0; at < y.length; at += 1) {
    const [i, j, o] = [Math.floor(at / k / w), Math.floor(at / k) % w, at % k];
    let expected = bias[o]!;
    for (let tap = 0; tap < kernelSize * kernelSize * c; tap += 1) {
      const [r, s, input] = [Math.floor(tap / c / kernelSize), Math.floor(tap / c) % kernelSize, tap % c];
      const [row, column] = [i + r - 1, j + s - 1];
      if (row < 0 || column < 0 || column >= w || !isLiveTap(filter, o, input, r, s)) continue;
      expected +=
        weight[((o * c + input) * kernelSize + r) * kernelSize + s]! * x[(row * w + column) * c + input]!;
    }
    worst = Math.max(worst, Math.abs(expected - y[at]!));
  }
  if (!(worst < 1e-5)) {
    throw new PixelCnnError('ERR_SELF_TEST', `a masked convolution is off by ${worst}`, {
      remedy: 'try PIXELCNN_CPU_ISA=baseline, and report the output of this command',
    });
  }
  return `masked convolution agrees with its formula to ${worst.toExponential(1)}`;
}

async function checkSample(): Promise<string> {
  await using device = await openDevice({ backend: 'cpu' });
  await using model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, levels: 4, seed: 1 });
  const began = performance.now();
  const options = { count: 1, height: 12, width: 12, seed: 1 };
  const [image, again] = [await model.sample(options), await model.sample(options)];
  const nats = (await model.logLikelihood(image)).nats[0]!;
  if (Buffer.compare(image.data, again.data) !== 0 || !Number.isFinite(nats)) {
    throw new PixelCnnError('ERR_SELF_TEST', `two samples of one seed differ, or its likelihood is ${nats}`);
  }
  return `one image of 12x12 drawn twice, the same, in ${(performance.now() - began).toFixed(0)} ms`;
}

const found = await probe('binary', checkBinary);
const loaded = found && (await probe('addon', async () => `loads, ABI ${native().abi}`));
if (loaded) {
  await checkGpus();
  if (await probe('cpu', () => describe('cpu'))) {
    await probe('convolution', () => checkConvolution('cpu'));
    await probe('sampling', checkSample);
  }
}

async function describe(backend: 'cpu' | 'cuda', index = 0): Promise<string> {
  await using device = await openDevice({ backend, index });
  const { name, instructionSet, threads, precision } = device.info;
  const rest = backend === 'cpu' ? `${threads} threads${await bf16OnCpu()}` : precision;
  return `${name}, ${instructionSet}, ${rest}`;
}

/** Says that the CPU also computes in bf16, if it does. */
async function bf16OnCpu(): Promise<string> {
  try {
    await using _ = await openDevice({ backend: 'cpu', precision: 'bf16' });
    return ', bf16 if asked for';
  } catch (error) {
    if (error instanceof PixelCnnError && error.code === 'ERR_PRECISION') return '';
    throw error;
  }
}

/** Checks every GPU, cuDNN, and a convolution on the first GPU. A machine without them works on its CPU. */
async function checkGpus(): Promise<void> {
  const usable = await probe('gpu 0', () => describe('cuda'), 'note');
  for (let index = 1; usable && index < 16; index += 1) {
    const end = await describe('cuda', index).catch((error: PixelCnnError) => error);
    if (typeof end !== 'string' && end.code === 'ERR_NO_DEVICE') break;
    await probe(`gpu ${index}`, async () => {
      if (typeof end !== 'string') throw end;
      return end;
    });
  }
  await probe('cudnn', checkCudnn, 'note');
  if (usable) await probe('on the gpu', () => checkConvolution('cuda'));
}

async function checkCudnn(): Promise<string> {
  const { version, path, code, message, remedy, attempts } = callNative(() => native().cudnnReport());
  if (message === '') return `${version}, ${path}`;
  const broken = attempts.split('\n').filter((attempt) => attempt !== '' && !attempt.endsWith(': not there'));
  const tried = broken.length > 1 ? ` (${broken.join('; ')})` : '';
  throw new PixelCnnError(code, message + tried, remedy === '' ? {} : { remedy });
}

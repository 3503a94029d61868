// Tests model files with wrong contents, with every truncation and with every bit flip.
import { describe, expect, it } from 'vitest';
import { decodeModel, encodeModel, type ModelFile, weightsIn } from '../../src/checkpoint/model-file.js';
import {
  CHECKSUM_KEY,
  encodeSafetensors,
  parseSafetensors,
  type SafetensorsTensor,
} from '../../src/checkpoint/safetensors.js';
import { checksum } from '../../src/checkpoint/safetensors-format.js';
import { networkOf } from '../../src/models/architectures.js';
import { initialParameters } from '../../src/models/initial-values.js';
import type { NamedArrays } from '../../src/models/parameters.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { trainingState } from '../../src/train/training-state.js';
import { codeOf, expectTruncationsRefused, readWithFlips, withBitFlipped } from '../helpers/damage.js';
import { TestRandom } from '../helpers/random.js';

const config = parseConfig('test', { hiddenChannels: 2, layers: 2, levels: 2, kernelSize: 3 });
const state = {
  step: 7,
  epochNats: 1.5,
  epochImages: 3,
  bestNats: null,
  counters: [0.25, 6, 1, 0],
  seed: 3,
  batchSize: 4,
  protocol: 'levels',
  validation: 0.1,
  dataset: '0123456789abcdef',
};
const numerics = {
  sums: 2,
  backend: 'cpu',
  instructionSet: 'avx512',
  precision: 'f32',
  algorithm: 'auto',
  plans: 'none',
};

async function arrays(seed: number, prefix = ''): Promise<NamedArrays> {
  const parameters = await initialParameters(networkOf(config).parameters, seed);
  return new Map([...parameters].map(([name, value]) => [prefix + name, value]));
}

/** Makes a checkpoint like those of a training run. */
const checkpoint: ModelFile = {
  config,
  imageSize: { height: 4, width: 4 },
  step: 7,
  weights: 'raw',
  parameters: await arrays(1),
  average: await arrays(2),
  training: {
    arrays: new Map([...(await arrays(3, 'moment1.')), ...(await arrays(4, 'moment2.'))]),
    state,
  },
};
const valid = encodeModel(checkpoint);

/** Reads a checkpoint as resuming does. */
function read(bytes: Uint8Array): void {
  trainingState(decodeModel(bytes, {}, 'a.safetensors'), 'a.safetensors');
}

type Edit = (tensors: Map<string, SafetensorsTensor>, metadata: Record<string, string>) => void;

/** Returns the checkpoint with a change and a correct checksum. */
function edited(edit: Edit): Uint8Array {
  const { metadata, tensors } = parseSafetensors(valid.slice());
  edit(tensors, metadata);
  return encodeSafetensors(tensors, metadata, { checksum: true });
}

const float32 = (shape: number[]): SafetensorsTensor => ({
  dtype: 'F32',
  shape,
  data: new Uint8Array(4 * shape.reduce((product, size) => product * size, 1)),
});
const withConfig =
  (change: object): Edit =>
  (_, metadata) => {
    metadata['pixelcnn.config'] = JSON.stringify({ ...config, ...change });
  };
const withState =
  (change: object): Edit =>
  (_, metadata) => {
    metadata['pixelcnn.training'] = JSON.stringify({ ...state, ...change });
  };
const withText =
  (key: string, text: string | undefined): Edit =>
  (_, metadata) => {
    if (text === undefined) delete metadata[key];
    else metadata[key] = text;
  };

describe('a checkpoint', () => {
  it('round trips', () => {
    const { notes, declarations, ...decoded } = decodeModel(valid);
    expect(decoded).toEqual(checkpoint);
    expect(notes).toEqual([]);
    expect(declarations.map(({ name }) => name).sort()).toEqual([...decoded.parameters.keys()].sort());
    expect(codeOf(() => read(valid))).toBe('accept');
    expect(codeOf(() => read(edited(() => undefined)))).toBe('accept');
    expect(encodeModel(decoded)).toEqual(valid);
  });

  it('that names the architecture plain is that of one which names none', () => {
    const named = decodeModel(edited(withConfig({ architecture: 'plain' })));
    expect(named.config).toEqual(config);
  });

  it('says what decided its bits, in names of today or of a later release', () => {
    for (const instructionSet of ['avx512', 'sve2'])
      expect(codeOf(() => read(edited(withState({ numerics: { ...numerics, instructionSet } }))))).toBe(
        'accept',
      );
  });

  it('of an earlier release, which does not say its step, is read', () => {
    const older = edited(withText('pixelcnn.step', undefined));
    expect(codeOf(() => read(older))).toBe('accept');
    expect(decodeModel(older).step).toBeUndefined();
  });

  it('with values that are not finite is not written', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const parameters = await arrays(1);
      parameters.get('net.0.bias')!.data[1] = value;
      expect(codeOf(() => encodeModel({ ...checkpoint, parameters }))).toBe('CKPT_NONFINITE');
    }
  });

  it('of any image size is read back as it was, or not written', () => {
    const strip = { ...checkpoint, imageSize: { height: 1, width: 16_384 } };
    expect(decodeModel(encodeModel(strip)).imageSize).toEqual(strip.imageSize);
    for (const height of [0, 1.5, 16_385]) {
      const imageSize = { height, width: 4 };
      expect(codeOf(() => encodeModel({ ...checkpoint, imageSize }))).toBe('CKPT_CONFIG');
    }
  });

  it('keeps the names of its classes, however many', async () => {
    const conditional = parseConfig('test', { ...config, condition: { classes: 300 } });
    const parameters = await initialParameters(networkOf(conditional).parameters, 1);
    const classNames = Array.from({ length: 300 }, (_, label) => `class "${label}"`);
    const file: ModelFile = {
      config: conditional,
      imageSize: undefined,
      weights: 'raw',
      parameters,
      classNames,
    };
    expect(decodeModel(encodeModel(file)).classNames).toEqual(classNames);
    const tooMany = encodeModel({ ...file, classNames: [...classNames, 'one more'] });
    expect(codeOf(() => decodeModel(tooMany))).toBe('CKPT_CONFIG');
  });

  it.each<[string, Edit, string]>([
    ['tensor missing', (tensors) => tensors.delete('net.2.bias'), 'CKPT_MISSING_TENSOR'],
    ['average incomplete', (tensors) => tensors.delete('ema.net.0.weight'), 'CKPT_MISSING_TENSOR'],
    ['tensor too many', (tensors) => tensors.set('net.9.bias', float32([2])), 'CKPT_UNKNOWN_TENSOR'],
    ['training tensor too many', (tensors) => tensors.set('training.x', float32([2])), 'CKPT_UNKNOWN_TENSOR'],
    ['wrong shape', (tensors) => tensors.set('net.0.bias', float32([3])), 'CKPT_SHAPE'],
    ['wrong rank', (tensors) => tensors.set('net.0.bias', float32([2, 1])), 'CKPT_SHAPE'],
    ['empty tensor', (tensors) => tensors.set('net.0.bias', float32([0])), 'CKPT_SHAPE'],
    [
      'wrong dtype',
      (tensors) => tensors.set('net.0.bias', { dtype: 'I32', shape: [2], data: new Uint8Array(8) }),
      'CKPT_DTYPE',
    ],
    [
      'wider dtype',
      (tensors) => tensors.set('net.0.bias', { dtype: 'F64', shape: [2], data: new Uint8Array(16) }),
      'CKPT_DTYPE',
    ],
    ['NaN', (tensors) => tensors.get('net.0.bias')!.data.fill(255), 'CKPT_NONFINITE'],
    [
      'NaN in a moment',
      (tensors) => tensors.get('training.moment2.net.0.bias')!.data.fill(255),
      'CKPT_NONFINITE',
    ],
    ['moment missing', (tensors) => tensors.delete('training.moment1.net.0.bias'), 'CKPT_MISSING_TENSOR'],
    [
      'moment of another length',
      (tensors) => tensors.set('training.moment2.net.0.bias', float32([3])),
      'CKPT_SHAPE',
    ],
    ['config absent', withText('pixelcnn.config', undefined), 'CKPT_CONFIG'],
    ['config empty', withText('pixelcnn.config', ''), 'CKPT_CONFIG'],
    ['config an array', withText('pixelcnn.config', '[]'), 'CKPT_CONFIG'],
    ['config null', withText('pixelcnn.config', 'null'), 'CKPT_CONFIG'],
    ['config of 5,000 characters', withText('pixelcnn.config', `{"a":"${'x'.repeat(5000)}"}`), 'CKPT_CONFIG'],
    ['config nested', withText('pixelcnn.config', '{"a":'.repeat(9)), 'CKPT_CONFIG'],
    ['config with a key twice', withText('pixelcnn.config', '{"layers":2,"layers":3}'), 'CKPT_CONFIG'],
    ['config with __proto__', withText('pixelcnn.config', '{"__proto__":{"layers":2}}'), 'CKPT_CONFIG'],
    ['config with another key', withConfig({ colour: 1 }), 'CKPT_CONFIG'],
    ['channels 10^9', withConfig({ channels: 1e9 }), 'CKPT_CONFIG'],
    ['channels 10^20', withText('pixelcnn.config', '{"channels":100000000000000000000}'), 'CKPT_CONFIG'],
    ['layers -1', withConfig({ layers: -1 }), 'CKPT_CONFIG'],
    ['layers 2.5', withConfig({ layers: 2.5 }), 'CKPT_CONFIG'],
    ['layers 1e400', withText('pixelcnn.config', '{"layers":1e400}'), 'CKPT_CONFIG'],
    ['levels 0', withConfig({ levels: 0 }), 'CKPT_CONFIG'],
    ['levels 257', withConfig({ levels: 257 }), 'CKPT_CONFIG'],
    ['levels NaN', withText('pixelcnn.config', '{"levels":NaN}'), 'CKPT_CONFIG'],
    ['levels null', withConfig({ levels: null }), 'CKPT_CONFIG'],
    ['levels a string', withConfig({ levels: '256' }), 'CKPT_CONFIG'],
    ['kernel even', withConfig({ kernelSize: 4 }), 'CKPT_CONFIG'],
    ['too many parameters', withConfig({ hiddenChannels: 2048, layers: 128, kernelSize: 31 }), 'CKPT_CONFIG'],
    ['an unknown architecture', withConfig({ architecture: 'snail' }), 'CKPT_CONFIG'],
    ['an option of another architecture', withConfig({ firstKernelSize: 7 }), 'CKPT_CONFIG'],
    ['another architecture', withConfig({ architecture: 'gated' }), 'CKPT_UNKNOWN_TENSOR'],
    ['config of fewer layers', withConfig({ hiddenChannels: 3 }), 'CKPT_SHAPE'],
    ['config of more layers', withConfig({ layers: 3 }), 'CKPT_SHAPE'],
    ['step of the file -1', withText('pixelcnn.step', '-1'), 'CKPT_CONFIG'],
    ['step of the file 1.5', withText('pixelcnn.step', '1.5'), 'CKPT_CONFIG'],
    ['step of the file empty', withText('pixelcnn.step', ''), 'CKPT_CONFIG'],
    ['step of the file 2^53', withText('pixelcnn.step', String(2 ** 53)), 'CKPT_CONFIG'],
    ['step of the file another', withText('pixelcnn.step', '8'), 'CKPT_TRAINING_STATE'],
    ['image size 0', withText('pixelcnn.imageSize', '{"height":0,"width":4}'), 'CKPT_CONFIG'],
    ['image size huge', withText('pixelcnn.imageSize', '{"height":1e9,"width":4}'), 'CKPT_CONFIG'],
    ['version newer', withText('pixelcnn.version', '2'), 'CKPT_VERSION'],
    ['version absent', withText('pixelcnn.version', undefined), 'CKPT_VERSION'],
    ['version odd', withText('pixelcnn.version', ' 1'), 'CKPT_VERSION'],
    ['state absent', withText('pixelcnn.training', undefined), 'CKPT_UNKNOWN_TENSOR'],
    ['step -1', withState({ step: -1 }), 'CKPT_TRAINING_STATE'],
    ['step 1.5', withState({ step: 1.5 }), 'CKPT_TRAINING_STATE'],
    ['step NaN', withState({ step: Number.NaN }), 'CKPT_TRAINING_STATE'],
    ['step 2^53', withState({ step: 2 ** 53 }), 'CKPT_TRAINING_STATE'],
    ['step of another optimizer', withState({ step: 8 }), 'CKPT_TRAINING_STATE'],
    ['three counters', withState({ counters: [0, 7, 0] }), 'CKPT_TRAINING_STATE'],
    ['counter of half a step', withState({ counters: [0, 6.5, 0.5, 0] }), 'CKPT_TRAINING_STATE'],
    ['state with another key', withState({ speed: 1 }), 'CKPT_TRAINING_STATE'],
    ...(
      [
        ['null', null],
        ['a text', 'avx512'],
        ['a list', []],
        ['empty', {}],
        ['with another key', { ...numerics, speed: 1 }],
        ['of sums 0', { ...numerics, sums: 0 }],
        ['of sums 1.5', { ...numerics, sums: 1.5 }],
        ['of sums 2^53', { ...numerics, sums: 2 ** 53 }],
        ['of sums in a text', { ...numerics, sums: '2' }],
        ['without an instruction set', { ...numerics, instructionSet: undefined }],
        ['with an empty instruction set', { ...numerics, instructionSet: '' }],
        ['with a control character', { ...numerics, plans: '\u001b[2J' }],
        ['with a line end', { ...numerics, plans: 'none\n' }],
        ['with a long text', { ...numerics, backend: 'c'.repeat(201) }],
        ['with a nested precision', { ...numerics, precision: { f32: true } }],
      ] as const
    ).map(([what, value]): [string, Edit, string] => {
      return [`numerics ${what}`, withState({ numerics: value }), 'CKPT_TRAINING_STATE'];
    }),
    ['numerics twice', withText('pixelcnn.training', '{"numerics":1,"numerics":2}'), 'CKPT_CONFIG'],
    ['dataset a number', withState({ dataset: 3 }), 'CKPT_TRAINING_STATE'],
  ])('%s', (_, edit, code) => {
    expect(codeOf(() => read(edited(edit)))).toBe(code);
  });

  it('without a state to resume from', () => {
    const { training: _, ...model } = checkpoint;
    expect(codeOf(() => read(encodeModel(model)))).toBe('CKPT_NO_TRAINING_STATE');
  });

  it('with a checksum that is wrong, malformed, under another key or absent', () => {
    const at = Buffer.from(valid).indexOf(CHECKSUM_KEY);
    const changed = (offset: number, character: string) => {
      const bytes = valid.slice();
      bytes[at + offset] = character.charCodeAt(0);
      return bytes;
    };
    const digit = String.fromCharCode(valid[at + CHECKSUM_KEY.length + 3]!);
    expect(codeOf(() => read(changed(CHECKSUM_KEY.length + 3, digit === '0' ? '1' : '0')))).toBe(
      'CKPT_CHECKSUM',
    );
    expect(codeOf(() => read(changed(CHECKSUM_KEY.length + 3, 'g')))).toBe('CKPT_CHECKSUM');
    expect(codeOf(() => read(changed(CHECKSUM_KEY.length - 1, '7')))).toBe('CKPT_CHECKSUM');
    const { metadata, tensors } = parseSafetensors(valid.slice());
    delete metadata[CHECKSUM_KEY];
    expect(codeOf(() => read(encodeSafetensors(tensors, metadata)))).toBe('CKPT_CHECKSUM');
  });

  it('names the file, the tensor and both shapes', () => {
    const file = edited((tensors) => tensors.set('ema.net.0.bias', float32([3])));
    expect(() => read(file)).toThrow(/a\.safetensors.*'ema\.net\.0\.bias'.*2.*3/);
  });
});

describe('the weights in a file', () => {
  const { average: _, training: __, ...model } = checkpoint;
  const metadataOf = (bytes: Uint8Array) => parseSafetensors(bytes.slice()).metadata['pixelcnn.weights'];
  const withWeights = (text: string | undefined, edit: Edit = () => undefined) =>
    edited((tensors, metadata) => {
      withText('pixelcnn.weights', text)(tensors, metadata);
      edit(tensors, metadata);
    });
  const withoutAverage: Edit = (tensors) => {
    for (const name of tensors.keys()) if (name.startsWith('ema.')) tensors.delete(name);
  };

  it.each([
    ['raw', model, ['raw']],
    ['ema', { ...model, weights: 'ema' as const }, ['ema']],
    ['raw+ema', checkpoint, ['raw', 'ema']],
  ])('are recorded: %s', (text, file, held) => {
    const bytes = encodeModel(file);
    expect(metadataOf(bytes)).toBe(text);
    const decoded = decodeModel(bytes);
    expect(decoded).toMatchObject({ ...file });
    expect(weightsIn(decoded)).toEqual(held);
  });

  it('that does not say are raw, beside an average if there is one', () => {
    expect(weightsIn(decodeModel(withWeights(undefined)))).toEqual(['raw', 'ema']);
    expect(weightsIn(decodeModel(withWeights(undefined, withoutAverage)))).toEqual(['raw']);
  });

  it.each<[string, string, Edit]>([
    ['both, without an average', 'raw+ema', withoutAverage],
    ['raw, with an average', 'raw', () => undefined],
    ['ema, with an average', 'ema', () => undefined],
    ['the other order', 'ema+raw', () => undefined],
    ['another name', 'best', withoutAverage],
    ['nothing', '', withoutAverage],
  ])('that contradict what the file says are refused: %s', (_what, text, edit) => {
    expect(codeOf(() => decodeModel(withWeights(text, edit)))).toBe('CKPT_CONFIG');
    expect(() => decodeModel(withWeights(text, edit), {}, 'a.safetensors')).toThrow(
      `a.safetensors: metadata 'pixelcnn.weights' says "${text}"`,
    );
  });

  it('are one average at most', () => {
    expect(codeOf(() => encodeModel({ ...checkpoint, weights: 'ema' }))).toBe('CKPT_CONFIG');
  });

  it('that are an average alone are nothing to resume from', () => {
    const { average: _average, ...rest } = checkpoint;
    expect(codeOf(() => read(encodeModel(rest)))).toBe('accept');
    expect(codeOf(() => read(encodeModel({ ...rest, weights: 'ema' })))).toBe('CKPT_NO_TRAINING_STATE');
  });
});

describe('a PyTorch state dict', () => {
  it('needs neither version nor checksum, and may have anything under the mask', () => {
    const tensors = new Map([...parseSafetensors(valid).tensors].filter(([name]) => name.startsWith('net.')));
    const weight = tensors.get('net.0.weight')!;
    const last = weight.data.slice();
    last.fill(255, last.length - 4); // a NaN in the last weight of the last filter
    tensors.set('net.0.weight', { ...weight, data: last });
    const { parameters } = decodeModel(encodeSafetensors(tensors), { levels: 2 });
    expect(parameters.get('net.0.weight')!.data.at(-1)).toBe(0);
  });
});

/** Decodes a file after correcting its checksum, as if it had none. */
function readWithoutHash(damaged: Uint8Array): void {
  const bytes = damaged.slice();
  const at = Buffer.from(bytes).indexOf(`"${CHECKSUM_KEY}":"`) + CHECKSUM_KEY.length + 4;
  bytes.set(Buffer.from(checksum(bytes, at)), at);
  read(bytes);
}

describe('damage', () => {
  it('every truncation is refused', () => expectTruncationsRefused(valid, read, /^CKPT_/));

  it('every single-bit flip is refused', () => {
    const refused = 8 * valid.length;
    expect(readWithFlips(valid, read, /^CKPT_/)).toEqual({ refused, harmless: 0, wrong: [] });
    expect(refused).toBeGreaterThan(10_000);
  });

  it('flips in a larger file are refused: 1,000 at random', async () => {
    const larger = parseConfig('test', { hiddenChannels: 32, layers: 4 });
    const parameters = await initialParameters(networkOf(larger).parameters, 1);
    const file = encodeModel({ config: larger, imageSize: undefined, weights: 'raw', parameters });
    const random = new TestRandom(17);
    const codes = Array.from({ length: 1000 }, () => {
      const damaged = withBitFlipped(file, random.int(0, 8 * file.length - 1));
      return codeOf(() => decodeModel(damaged));
    });
    expect(codes.filter((code) => !/^CKPT_/.test(String(code)))).toEqual([]);
  });

  it('would show a reader that skips the hash', () => {
    expect(readWithFlips(valid, readWithoutHash, /^CKPT_/).harmless).toBeGreaterThan(1000);
  });
});

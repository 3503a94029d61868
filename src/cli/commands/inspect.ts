// Defines `pixelcnn inspect`, which shows the content of a safetensors file, of pixelcnn or of others.
import { type DecodedModel, decodeModel, weightsIn, weightsKey } from '../../checkpoint/model-file.js';
import { readModelFile } from '../../checkpoint/pretrained.js';
import { CHECKSUM_KEY, parseSafetensors, type SafetensorsTensor } from '../../checkpoint/safetensors.js';
import { PixelCnnError } from '../../errors.js';
import { conditionText } from '../../models/config.js';
import type { Weights } from '../../models/weights.js';
import { liveParameters, totalParameters } from '../../ops/declarations.js';
import { z } from '../../options.js';
import { numericsSchema, numericsText } from '../../train/numerics.js';
import type { Command } from '../command.js';
import { outputOptions } from '../common.js';
import { findModelFile } from '../model-source.js';
import { Terminal, table, thousands } from '../terminal.js';

const schema = z.strictObject({
  file: z.string().min(1).describe('safetensors file, the folder of a run, or a pretrained model'),
  tensors: z.boolean().default(true).describe('leave out the list of tensors'),
  ...outputOptions,
});

export const inspectCommand: Command<typeof schema> = {
  name: 'inspect',
  summary: 'Shows configuration, tensors, parameter counts, training state and checksum of a file.',
  schema,
  positional: 'file',
  examples: [
    'pixelcnn inspect runs/demo/model.safetensors',
    'pixelcnn inspect checkpoint.safetensors --json | jq .training',
  ],

  async run(options) {
    const terminal = new Terminal(options);
    const file = await findModelFile(options.file, undefined, terminal);
    const { bytes } = await readModelFile(file);
    const { metadata, tensors } = parseSafetensors(bytes, { file, allowNonfinite: true });
    const checksum = metadata[CHECKSUM_KEY] === undefined ? 'none' : 'ok';
    const found = modelIn(bytes, file);
    const declarations = found.model?.declarations;
    const parameters = declarations && {
      total: totalParameters(declarations),
      live: liveParameters(declarations),
    };
    const { config, imageSize, classNames, protocol, training, notes = [] } = found.model ?? {};
    const weights = found.model === undefined ? undefined : weightsIn(found.model);
    const listed = [...tensors].map(([name, tensor]) => describeTensor(name, tensor, found.model));
    const rows = [
      ['file', `${file}, ${thousands(bytes.length)} bytes, ${tensors.size} tensors`],
      ['checksum', checksum === 'ok' ? 'SHA-256 matches' : 'none in the file'],
      [
        'model',
        config === undefined ? `none: ${found.reason}` : settings({ architecture: 'plain', ...config }),
      ],
      ...(config?.condition ? [['condition', conditionText(config.condition)]] : []),
      ...(classNames ? [['classes', classNames.join(', ')]] : []),
      ...notes.map((note, i) => [i === 0 ? 'notes' : '', note]),
      ...(imageSize ? [['images', `${imageSize.height}x${imageSize.width}`]] : []),
      ...(protocol ? [['protocol', protocol]] : []),
      ...(parameters ? [['parameters', countText(parameters)]] : []),
      ...(weights ? [['weights', weightsText(weights, metadata[weightsKey] !== undefined)]] : []),
      ...(training ? [['training', settings(training.state)]] : []),
      ...(training ? [['numerics', numericsOf(training.state)]] : []),
    ];
    const text = [table(rows)];
    if (options.tensors) {
      const cells = listed.map(({ name, dtype, shape, elements, live }) => {
        return [
          name,
          dtype,
          `[${shape.join(', ')}]`,
          thousands(elements),
          live === null ? '' : thousands(live),
        ];
      });
      text.push('', table([['tensor', 'type', 'shape', 'elements', 'live'], ...cells], [3, 4]));
    }
    terminal.result(text.join('\n'), {
      file,
      bytes: bytes.length,
      checksum,
      config: config ?? null,
      notes,
      imageSize: imageSize ?? null,
      classNames: classNames ?? null,
      protocol: protocol ?? null,
      parameters: parameters ?? null,
      weights: weights ?? null,
      training: training?.state ?? null,
      metadata,
      ...(options.tensors && { tensors: listed }),
    });
    return 0;
  },
};

function weightsText(weights: readonly Weights[], recorded: boolean): string {
  const text = weights.join(' and ');
  return recorded ? text : `${text}: the file does not say which, so that its weights count as raw`;
}

function numericsOf({ numerics }: Readonly<Record<string, unknown>>): string {
  if (numerics === undefined) return 'the file does not say what decided the bits of its steps';
  const { data } = numericsSchema.safeParse(numerics);
  return data === undefined ? 'malformed' : numericsText(data);
}

/** Returns the model in the file, or the reason why pixelcnn cannot read one from it. */
function modelIn(bytes: Uint8Array, file: string): { model?: DecodedModel; reason?: string } {
  try {
    return { model: decodeModel(bytes, {}, file) };
  } catch (error) {
    if (!(error instanceof PixelCnnError)) throw error;
    return { reason: [error.message, error.remedy].filter((part) => part !== undefined).join('; ') };
  }
}

function describeTensor(name: string, tensor: SafetensorsTensor, model: DecodedModel | undefined) {
  const { dtype, shape } = tensor;
  const declaration = model?.declarations.find((one) => one.name === name);
  return {
    name,
    dtype,
    shape,
    elements: shape.reduce((product, size) => product * size, 1),
    /** Number of weights that the mask does not set to zero. */
    live: declaration?.filter ? liveParameters([declaration]) : null,
  };
}

function countText({ total, live }: { total: number; live: number }): string {
  return `${thousands(total)}, of which ${thousands(live)} are live under the masks (${Math.round((100 * live) / total)} %)`;
}

function settings(values: object): string {
  const shown = Object.entries(values).filter(([, value]) => typeof value !== 'object' || value === null);
  return shown.map(([key, value]) => `${key} ${value}`).join(', ');
}

// Tensors of a state dict that the plain network has no place for, called what they are.
import { PixelCnnError } from '../errors.js';
import type { SafetensorsTensor } from './safetensors.js';

interface Content {
  /** Fits after "found": `batch normalisation`. */
  readonly what: string;
  readonly has: (name: string, tensor: SafetensorsTensor) => boolean;
  /** What to do in Python, where something helps. */
  readonly remedy?: string;
}

const named = (pattern: RegExp) => (name: string) => pattern.test(name);
const weightOfRank =
  (rank: number) =>
  (name: string, { shape }: SafetensorsTensor) => {
    return /(^|\.)weight$/.test(name) && shape.length === rank;
  };

/** Whether a name says that the tensor belongs to a moving average of weights: `ema_model.net.0.weight`. */
export const namesAverage = named(/(^|[._])(ema|averaged|shadow|swa)([._]|$)/i);

const unparametrize = "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')";

/** The first row that fits any tensor is told, so what says most about a network stands first. */
const contents: readonly Content[] = [
  {
    what: 'the state of a training run of pixelcnn, whose metadata are gone',
    has: named(/^training\./),
    remedy: 'give the file as pixelcnn wrote it, or save the weights alone',
  },
  {
    what: 'the state of an optimizer or a scheduler',
    has: named(
      /^(optimi[sz]ers?|optimizer_states?|optim|lr_schedulers?|schedulers?|param_groups)\b|(^|\.)(exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer)$/,
    ),
    remedy: "save the weights alone: save_file(model.state_dict(), 'model.safetensors')",
  },
  {
    what: 'LoRA adapters',
    has: named(/(^|[._])lora([._]|$)/i),
    remedy: 'merge them into the weights first (peft: merge_and_unload())',
  },
  {
    what: 'a Gated PixelCNN (vertical and horizontal stacks, gates)',
    has: named(/(^|[._\d])(vert(ical)?|horiz?(ontal)?|[vh]_?stack|v_?to_?h|gate[ds]?)([._\d]|$)/i),
  },
  {
    what: 'a PixelCNN++',
    has: named(/(^|[._])(ul?_init|nin(_out|_skip)?|(up|down)_layers|(up|down)size_ul?_stream)([._]|$)/i),
  },
  { what: 'a recurrent layer (LSTM or GRU)', has: named(/(^|[._])weight_[ih]h(_l\d+)?/) },
  {
    what: 'attention',
    has: named(/(^|[._])(\w*attn|\w*attention|in_proj_weight|qkv|[qkv]_proj)([._\d]|$)/i),
  },
  {
    what: 'residual blocks',
    has: named(/(^|[._])(res(idual|net|block)?s?|res_?blocks?|skip|shortcut)([._\d]|$)/i),
  },
  {
    what: 'an embedding or a condition (a network given more than the image)',
    has: named(/(^|[._])(\w*embed(ding)?s?|emb|cond|condition\w*|labels?|class(es)?)([._\d]|$)/i),
  },
  { what: 'a transposed convolution', has: named(/transpose|deconv|upsampl/i) },
  {
    what: 'batch normalisation',
    has: named(/(^|\.)(running_mean|running_var|num_batches_tracked)$/),
    remedy:
      'fold it into the convolution before it, after masking the weights: torch.nn.utils.fuse_conv_bn_eval(convolution, norm)',
  },
  {
    what: 'pruning',
    has: named(/(^|\.)(weight|bias)_mask$/),
    remedy: "make it permanent: torch.nn.utils.prune.remove(layer, 'weight')",
  },
  {
    what: 'spectral normalisation',
    has: named(/(^|\.)weight_u$|\.parametrizations\.\w+\.\d+\._[uv]$/),
    remedy: `put it into the weights: torch.nn.utils.remove_spectral_norm(layer), or ${unparametrize}`,
  },
  {
    what: 'weight normalisation',
    has: named(/(^|\.)weight_[gv]$|(^|\.)parametrizations\.\w+\.original[01]$/),
    remedy: `put it into the weights: torch.nn.utils.remove_weight_norm(layer), or ${unparametrize}`,
  },
  {
    what: 'a parametrized weight',
    has: named(/(^|\.)parametrizations\.|(^|\.)weight_orig$/),
    remedy: `put it into the weights: ${unparametrize}`,
  },
  {
    what: 'quantised weights',
    has: named(/_packed_params|(^|[._])(scales?|zero_points?|qweight|absmax|quant_map|quant_state)([._]|$)/),
    remedy: 'save the weights as float32',
  },
  {
    what: 'a second copy of the weights (a moving average)',
    has: namesAverage,
    remedy: 'save one of the two alone',
  },
  { what: 'a linear layer', has: weightOfRank(2) },
  { what: 'a 1d convolution', has: weightOfRank(3) },
  { what: 'a 3d convolution', has: weightOfRank(5) },
  { what: 'a layer norm, a group norm or a PReLU', has: weightOfRank(1) },
];

/** The network that state dicts may hold, for errors. */
export const plainNetwork =
  "pixelcnn's network is masked convolutions with ReLU between them, and nothing else";

/**
 * The refusal of `names` by what they are; undefined where none of them is known.
 */
export function foreignContent(
  names: readonly string[],
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  where: string,
): PixelCnnError | undefined {
  for (const { what, has, remedy } of contents) {
    const name = names.find((one) => has(one, tensors.get(one)!));
    if (name === undefined) continue;
    const message = `${where}: found ${what}: ${name}; ${plainNetwork}`;
    return new PixelCnnError('CKPT_UNKNOWN_TENSOR', message, remedy === undefined ? {} : { remedy });
  }
  return undefined;
}

// Recognises tensors in a PyTorch state dict that belong to layers which our networks do not have.
import { PixelCnnError } from '../errors.js';
import type { SafetensorsTensor } from './safetensors.js';

interface Content {
  /** A noun phrase that fits after "found", such as `batch normalisation`. */
  readonly description: string;
  readonly matches: (name: string, tensor: SafetensorsTensor) => boolean;
  /** What the user can do about it in Python, if anything. */
  readonly remedy?: string;
}

const named = (pattern: RegExp) => (name: string) => pattern.test(name);
const weightOfRank =
  (rank: number) =>
  (name: string, { shape }: SafetensorsTensor) => {
    return /(^|\.)weight$/.test(name) && shape.length === rank;
  };

/**
 * Whether a name shows that a tensor belongs to a moving average of weights, as `ema_model.net.0.weight`
 * does.
 */
export const namesAverage = named(/(^|[._])(ema|averaged|shadow|swa)([._]|$)/i);

const unparametrize = "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')";

/**
 * The first row that matches any tensor is reported, so the rows that say most about a network come first.
 */
const contents: readonly Content[] = [
  {
    description: 'the state of a training run of pixelcnn, whose metadata are gone',
    matches: named(/^training\./),
    remedy: 'give the file as pixelcnn wrote it, or save the weights alone',
  },
  {
    description: 'the state of an optimizer or a scheduler',
    matches: named(
      /^(optimi[sz]ers?|optimizer_states?|optim|lr_schedulers?|schedulers?|param_groups)\b|(^|\.)(exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer)$/,
    ),
    remedy: "save the weights alone: save_file(model.state_dict(), 'model.safetensors')",
  },
  {
    description: 'LoRA adapters',
    matches: named(/(^|[._])lora([._]|$)/i),
    remedy: 'merge them into the weights first (peft: merge_and_unload())',
  },
  {
    description: 'a Gated PixelCNN (vertical and horizontal stacks, gates)',
    matches: named(/(^|[._\d])(vert(ical)?|horiz?(ontal)?|[vh]_?stack|v_?to_?h|gate[ds]?)([._\d]|$)/i),
    remedy:
      'if it has the layers that docs/gated.md lists, give its tensors the names there, and interleave its gates',
  },
  {
    description: 'a PixelCNN++',
    matches: named(/(^|[._])(ul?_init|nin(_out|_skip)?|(up|down)_layers|(up|down)size_ul?_stream)([._]|$)/i),
  },
  { description: 'a recurrent layer (LSTM or GRU)', matches: named(/(^|[._])weight_[ih]h(_l\d+)?/) },
  {
    description: 'attention',
    matches: named(/(^|[._])(\w*attn|\w*attention|in_proj_weight|qkv|[qkv]_proj)([._\d]|$)/i),
  },
  {
    description: 'residual blocks',
    matches: named(/(^|[._])(res(idual|net|block)?s?|res_?blocks?|skip|shortcut)([._\d]|$)/i),
  },
  {
    description: 'an embedding or a condition (a network given more than the image)',
    matches: named(/(^|[._])(\w*embed(ding)?s?|emb|cond|condition\w*|labels?|class(es)?)([._\d]|$)/i),
  },
  { description: 'a transposed convolution', matches: named(/transpose|deconv|upsampl/i) },
  {
    description: 'batch normalisation',
    matches: named(/(^|\.)(running_mean|running_var|num_batches_tracked)$/),
    remedy:
      'fold it into the convolution before it, after masking the weights: torch.nn.utils.fuse_conv_bn_eval(convolution, norm)',
  },
  {
    description: 'pruning',
    matches: named(/(^|\.)(weight|bias)_mask$/),
    remedy: "make it permanent: torch.nn.utils.prune.remove(layer, 'weight')",
  },
  {
    description: 'spectral normalisation',
    matches: named(/(^|\.)weight_u$|\.parametrizations\.\w+\.\d+\._[uv]$/),
    remedy: `put it into the weights: torch.nn.utils.remove_spectral_norm(layer), or ${unparametrize}`,
  },
  {
    description: 'weight normalisation',
    matches: named(/(^|\.)weight_[gv]$|(^|\.)parametrizations\.\w+\.original[01]$/),
    remedy: `put it into the weights: torch.nn.utils.remove_weight_norm(layer), or ${unparametrize}`,
  },
  {
    description: 'a parametrized weight',
    matches: named(/(^|\.)parametrizations\.|(^|\.)weight_orig$/),
    remedy: `put it into the weights: ${unparametrize}`,
  },
  {
    description: 'quantised weights',
    matches: named(
      /_packed_params|(^|[._])(scales?|zero_points?|qweight|absmax|quant_map|quant_state)([._]|$)/,
    ),
    remedy: 'save the weights as float32',
  },
  {
    description: 'a second copy of the weights (a moving average)',
    matches: namesAverage,
    remedy: 'save one of the two alone',
  },
  { description: 'a linear layer', matches: weightOfRank(2) },
  { description: 'a 1d convolution', matches: weightOfRank(3) },
  { description: 'a 3d convolution', matches: weightOfRank(5) },
  { description: 'a layer norm, a group norm or a PReLU', matches: weightOfRank(1) },
];

/** Describes, for error messages, the networks that a state dict may hold. */
export const readableNetworks =
  'pixelcnn reads masked convolutions with ReLU between them and nothing else, or the gated network under the names that docs/gated.md lists';

/**
 * Creates the error that says what the tensors `names` belong to, or returns undefined if none is recognised.
 */
export function foreignContent(
  names: readonly string[],
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  where: string,
): PixelCnnError | undefined {
  for (const { description, matches, remedy } of contents) {
    const name = names.find((one) => matches(one, tensors.get(one)!));
    if (name === undefined) continue;
    const message = `${where}: found ${description}: ${name}; ${readableNetworks}`;
    return new PixelCnnError('CKPT_UNKNOWN_TENSOR', message, remedy === undefined ? {} : { remedy });
  }
  return undefined;
}

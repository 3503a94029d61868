// Recognises files that users pass to a reader by mistake, such as web pages, archives or models of other tools.

/** Describes a file of a format that a reader does not accept, and what the user can do about it. */
export interface ForeignFile {
  /** A noun phrase that fits after "this is", such as `a Git LFS pointer, not the file itself`. */
  readonly description: string;
  readonly remedy: string;
}

type Test = (start: string) => boolean;
/** A format. `start` holds the bytes at the start of its files as latin1 text, or is a test of that text. */
export type Format = readonly [start: string | RegExp | Test, description: string, remedy: string];

const unpack = 'unpack it and give what is inside';
const convert = 'convert it to PNG or JPEG';
/**
 * Checkpoints often keep the weights under 'state_dict' or 'model'. The clones are there because save_file
 * rejects tensors that share memory.
 */
const torchRemedy =
  "convert it in Python: import torch; from safetensors.torch import save_file; d = torch.load('model.pt', " +
  "map_location='cpu', weights_only=True); d = d.get('state_dict', d.get('model', d)); " +
  "save_file({n: t.clone().contiguous() for n, t in d.items()}, 'model.safetensors') " +
  '(of a model saved whole, save model.state_dict() first)';

const formats: readonly Format[] = [
  ['version https://git-lfs.github.com/', 'a Git LFS pointer, not the file itself', 'fetch it: git lfs pull'],
  [/^\s*(<\?xml[^<]*(<!--[\s\S]*?-->\s*)?(<!DOCTYPE svg[^<]*)?)?<svg[\s>]/i, 'an SVG drawing', convert],
  [
    /^\s*(<!doctype html|<html|<head|<\?xml)/i,
    'a web page (HTML or XML), not the file that was to be downloaded',
    'download it again from the link to the file itself',
  ],
  [
    (start) => start[0] === '\x80' && '\x02\x03\x04\x05'.includes(start[1] ?? ' '),
    'a Python pickle, as torch.save wrote it in old versions of PyTorch',
    torchRemedy,
  ],
  [
    '\x89HDF\r\n\x1a\n',
    'an HDF5 file (Keras, .h5)',
    'export the weights as safetensors, the images as PNG or IDX',
  ],
  [
    // ONNX is a protocol buffer: field 1 is the format version, a small number, and field 2 the name of the
    // producer.
    (start) => start[0] === '\x08' && start.charCodeAt(1) < 16 && start[2] === '\x12',
    'an ONNX model',
    'export the weights of the original model as safetensors',
  ],
  ['\x93NUMPY', 'a NumPy array (.npy)', 'write images as PNG or IDX files, weights as safetensors'],
  ['GGUF', 'a GGUF model', 'export the weights of the original model as safetensors'],
  ['7z\xbc\xaf\x27\x1c', 'a 7z archive', unpack],
  ['Rar!\x1a\x07', 'a RAR archive', unpack],
  ['\xfd7zXZ\0', 'xz-compressed data', unpack],
  ['\x28\xb5\x2f\xfd', 'zstd-compressed data', unpack],
  ['BZh', 'bzip2-compressed data', unpack],
  ['%PDF-', 'a PDF document', 'export its pages as PNG files'],
  [(start) => start.startsWith('BM') && start.slice(6, 10) === '\0\0\0\0', 'a BMP image', convert],
  ['8BPS', 'a Photoshop document', convert],
  ['\0\0\x01\0', 'an icon (.ico)', convert],
  ['\xff\x0a', 'a JPEG XL image', convert],
  ['\0\0\0\x0cJXL ', 'a JPEG XL image', convert],
  ['\0\0\0\x0cjP  ', 'a JPEG 2000 image', convert],
  [/^[\s\S]{4}ftyp(isom|mp4|avc1|qt|M4V)/, 'a video (MP4)', 'export its frames as PNG files'],
];

/**
 * Recognises a file by `bytes`, its first kilobyte or more, if it has a known format that no reader here
 * accepts. For a gzip file, pass the start of the unpacked content instead.
 */
export function foreignFile(bytes: Uint8Array): ForeignFile | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).toString('latin1');
  if (start.startsWith('PK\x03\x04')) return zipArchive(start);
  if (start.slice(257, 262) === 'ustar') return { description: 'a tar archive', remedy: unpack };
  return findFormat(formats, start);
}

/** Returns the first of `formats` that matches `start`, the start of a file as latin1 text. */
export function findFormat(formats: readonly Format[], start: string): ForeignFile | undefined {
  const found = formats.find(([beginning]) => matches(beginning, start));
  return found && { description: found[1], remedy: found[2] };
}

/** Distinguishes zip archives by the names of their first entries, which stand in clear text at the start. */
function zipArchive(start: string): ForeignFile {
  if (/constants\.pkl|\/code\//.test(start)) {
    const remedy =
      "save the weights of the original model: save_file(model.state_dict(), 'model.safetensors')";
    return { description: 'a TorchScript model (.pt, a zip)', remedy };
  }
  // torch.save writes NAME/data.pkl first; newer versions also write NAME/.format_version and NAME/byteorder.
  if (/\/(data\.pkl|\.format_version|byteorder)/.test(start)) {
    return { description: 'a PyTorch file (.pt, a zip with a pickle in it)', remedy: torchRemedy };
  }
  if (/\.npy/.test(start.slice(0, 512))) {
    return {
      description: 'NumPy arrays (.npz, a zip)',
      remedy: 'write images as PNG or IDX files, weights as safetensors',
    };
  }
  return {
    description: 'a zip archive (.zip, .npz, or .pt of PyTorch)',
    remedy: `${unpack}; if PyTorch wrote it, ${torchRemedy}`,
  };
}

function matches(beginning: string | RegExp | Test, start: string): boolean {
  if (typeof beginning === 'string') return start.startsWith(beginning);
  return typeof beginning === 'function' ? beginning(start) : beginning.test(start);
}

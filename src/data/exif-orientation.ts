// Reads the EXIF orientation of an image and turns its pixels accordingly.
import type { RasterImage } from './image-batch.js';

const ORIENTATION_TAG = 0x0112;
const SHORT = 3;

/**
 * Reads the orientation, 1 to 8, from the first directory of an EXIF block, which is a TIFF file without
 * pixels. Returns 1 (upright) if the block states none or is damaged.
 */
export function exifOrientation(exif: Uint8Array): number {
  if (exif.length < 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  const little = view.getUint16(0) === 0x4949;
  const directory = view.getUint32(4, little);
  if (directory + 2 > exif.length) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; ++i) {
    const at = directory + 2 + 12 * i;
    if (at + 12 > exif.length) return 1;
    if (view.getUint16(at, little) !== ORIENTATION_TAG || view.getUint16(at + 2, little) !== SHORT) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** Turns and mirrors an image so that it is upright. Orientations 5 to 8 swap width and height. */
export function orient(image: RasterImage, orientation: number): RasterImage {
  if (orientation === 1) return image;
  const { data, width, height, channels } = image;
  const swapped = orientation >= 5;
  const [newWidth, newHeight] = swapped ? [height, width] : [width, height];
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBelow = [3, 4, 6, 7].includes(orientation);
  const turned = new Uint8Array(data.length);
  for (let y = 0; y < newHeight; ++y) {
    for (let x = 0; x < newWidth; ++x) {
      const [column, row] = swapped ? [y, x] : [x, y];
      const from = (fromBelow ? height - 1 - row : row) * width + (fromRight ? width - 1 - column : column);
      const to = y * newWidth + x;
      for (let c = 0; c < channels; ++c) turned[to * channels + c] = data[from * channels + c] as number;
    }
  }
  return { data: turned, width: newWidth, height: newHeight, channels };
}

// Loads the optional package sharp and declares the part of its API that is used here.
import { pathToFileURL } from 'node:url';
import { PixelCnnError } from '../errors.js';
import { resolveInstalled } from './installed-package.js';

export interface SharpMetadata {
  readonly width: number;
  readonly height: number;
  /** 'srgb', 'b-w', 'cmyk', 'grey16', … */
  readonly space: string;
  /** 'uchar', 'ushort', 'float', … */
  readonly depth: string;
  readonly hasAlpha: boolean;
  readonly orientation?: number;
  readonly pages?: number;
}

export interface SharpImage {
  metadata(): Promise<SharpMetadata>;
  /** Without an angle, turns the image as its EXIF orientation says. */
  rotate(): SharpImage;
  resize(
    width: number,
    height: number,
    options: { fit: string; background: { r: number; g: number; b: number; alpha: number } },
  ): SharpImage;
  toColourspace(space: string): SharpImage;
  raw(): SharpImage;
  toBuffer(options: {
    resolveWithObject: true;
  }): Promise<{ data: Buffer; info: { width: number; height: number; channels: number } }>;
}

export type Sharp = (input: Uint8Array, options?: object) => SharpImage;

/**
 * Loads sharp from the working directory, or else from this package.
 * @throws PixelCnnError ERR_MISSING_PACKAGE if it is not installed, or is installed and cannot be loaded.
 */
export async function loadSharp(purpose: string): Promise<Sharp> {
  const file = resolveInstalled('sharp', purpose, 'ERR_MISSING_PACKAGE');
  try {
    const module = (await import(pathToFileURL(file).href)) as { default: Sharp };
    return module.default;
  } catch (cause) {
    const message = `${purpose} needs the npm package sharp; ${file} does not start: ${String(cause)}`;
    throw new PixelCnnError('ERR_MISSING_PACKAGE', message, {
      remedy: 'install it anew for this system: npm install sharp',
      cause,
    });
  }
}

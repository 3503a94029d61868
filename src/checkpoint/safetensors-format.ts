// Defines what the safetensors reader and writer share: limits, rules for names, the checksum.
import { createHash } from 'node:crypto';
import { check } from '../errors.js';

/** The metadata key of the SHA-256 of the whole file, computed while its own 64 hex digits are zeros. */
export const CHECKSUM_KEY = 'pixelcnn.sha256';

/** The largest size of a file in bytes: that of a typed array in Node 20. */
export const MAXIMUM_FILE = 2 ** 32 - 1;
export const MAXIMUM_HEADER = 100_000_000;
export const MAXIMUM_TENSORS = 65_536;
export const MAXIMUM_NAME_BYTES = 512;
export const MAXIMUM_DIMENSION = 2n ** 31n - 1n;
export const MAXIMUM_UINT64 = 2n ** 64n - 1n;
export const MAXIMUM_RANK = 8;
export const RESERVED_NAMES = ['__metadata__', '__proto__', 'constructor', 'prototype'];
const HASHED_BYTES = 2 ** 30;
export const ZERO_CHECKSUM = '0'.repeat(64);

/**
 * Throws unless `name` is allowed for a tensor. Other programs may use names as file paths, show them on a
 * terminal or make them keys of an object, so names that could do harm there are refused.
 */
export function checkName(name: string, where: string): void {
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
  const bytes = Buffer.byteLength(name);
  check(bytes <= MAXIMUM_NAME_BYTES, 'CKPT_LIMIT', () => {
    return `tensor name ${shown} of ${bytes} bytes, limit ${MAXIMUM_NAME_BYTES}${where}`;
  });
  const path = name.split('/').some((part) => part === '' || part === '.' || part === '..');
  const valid = !path && !/[\\\p{Cc}\p{Cs}]/u.test(name) && !RESERVED_NAMES.includes(name);
  check(valid, 'CKPT_NAME', () => {
    return `tensor name ${shown} is empty, reserved, like a file path or has control characters${where}`;
  });
}

/**
 * Finds the offset of the 64 digits of the checksum, or -1. The text with its quotes can only be the key
 * itself, because quotes inside a JSON string are escaped.
 */
export function checksumOffset(header: Uint8Array, digits: string): number {
  const entry = `"${CHECKSUM_KEY}":"`;
  const at = Buffer.from(header.buffer, header.byteOffset, header.byteLength).indexOf(`${entry}${digits}"`);
  return at < 0 ? -1 : at + entry.length;
}

/** Computes the SHA-256 of the file as 64 hex digits. The digits at `digitsAt` count as zeros. */
export function checksum(bytes: Uint8Array, digitsAt: number): string {
  const hash = createHash('sha256').update(bytes.subarray(0, digitsAt)).update(ZERO_CHECKSUM);
  // Node cannot hash 2 GiB or more in one call.
  for (let at = digitsAt + ZERO_CHECKSUM.length; at < bytes.length; at += HASHED_BYTES) {
    hash.update(bytes.subarray(at, at + HASHED_BYTES));
  }
  return hash.digest('hex');
}

// Parses configurations, and refuses those that make no network or one that is too large.
import { PixelCnnError } from '../errors.js';
import { totalParameters } from '../ops/declarations.js';
import { parseOptions } from '../options.js';
import { networkOf } from './architectures.js';
import { configSchema, type PixelCnnConfig } from './config.js';

const maxParameters = 2 ** 28;

/** Parses and checks a configuration. @throws PixelCnnError ERR_LIMIT for a model that would be too large. */
export function parseConfig(caller: string, options: unknown): PixelCnnConfig {
  const config = parseOptions(caller, configSchema, options);
  if (config.kernelSize % 2 === 0) {
    throw new PixelCnnError(
      'ERR_OUT_OF_RANGE',
      `${caller}: kernelSize must be odd, got ${config.kernelSize}`,
    );
  }
  if (config.hiddenChannels < config.channels) {
    throw new PixelCnnError(
      'ERR_OUT_OF_RANGE',
      `${caller}: hiddenChannels must be at least channels (${config.channels}), got ${config.hiddenChannels}`,
    );
  }
  const total = totalParameters(networkOf(config).parameters);
  if (total > maxParameters) {
    throw new PixelCnnError(
      'ERR_LIMIT',
      `${caller}: the model would have ${total} parameters (${total * 4} bytes), the limit is ${maxParameters}`,
    );
  }
  return config;
}

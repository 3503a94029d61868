// Parses configurations, and refuses those that make no network or one that is too large.
import { check, PixelCnnError } from '../errors.js';
import { totalParameters } from '../ops/declarations.js';
import { parseOptions } from '../options.js';
import { networkOf } from './architectures.js';
import {
  type Condition,
  conditionKinds,
  configSchema,
  optionOf,
  type PixelCnnConfig,
  type PixelCnnOptions,
} from './config.js';

const maxParameters = 2 ** 28;

/** Parses and checks a configuration. @throws PixelCnnError ERR_LIMIT for a model that would be too large. */
export function parseConfig(caller: string, options: unknown): PixelCnnConfig {
  const config = completed(caller, options);
  for (const name of ['kernelSize', 'firstKernelSize'] as const) {
    const size = optionOf(config, name);
    check(size === undefined || Number(size) % 2 === 1, 'ERR_OUT_OF_RANGE', () => {
      return `${caller}: ${name} must be odd, got ${size}`;
    });
  }
  for (const name of ['hiddenChannels', 'headChannels'] as const) {
    const width = optionOf(config, name);
    check(width === undefined || Number(width) >= config.channels, 'ERR_OUT_OF_RANGE', () => {
      return `${caller}: ${name} must be at least channels (${config.channels}), got ${width}`;
    });
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

/**
 * Fills in the defaults of the architecture. The configuration of a plain network does not name its architecture, so that
 * model files of plain networks are the same as before there were others.
 */
function completed(caller: string, options: unknown): PixelCnnConfig {
  const { architecture, kernelSize, firstKernelSize, headChannels, condition, ...rest } = parseOptions(
    caller,
    configSchema,
    options,
  );
  const sizes = {
    ...rest,
    ...(condition !== undefined && { condition: completedCondition(caller, condition) }),
  };
  if (architecture === 'gated') {
    return {
      architecture,
      ...sizes,
      kernelSize: kernelSize ?? 3,
      firstKernelSize: firstKernelSize ?? 7,
      headChannels: headChannels ?? sizes.hiddenChannels,
    };
  }
  for (const [name, value] of Object.entries({ firstKernelSize, headChannels })) {
    if (value === undefined) continue;
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      `${caller}: ${name} is an option of gated networks, and this one is plain`,
      {
        remedy: `leave ${name} out, or set architecture to 'gated'`,
      },
    );
  }
  return { ...sizes, kernelSize: kernelSize ?? 7 };
}

/** Checks that a condition is of one kind, and leaves out what it does not say. */
export function completedCondition(
  caller: string,
  { none, ...sizes }: NonNullable<PixelCnnOptions['condition']>,
): Condition {
  const given = conditionKinds.filter((kind) => sizes[kind] !== undefined);
  check(given.length === 1, 'ERR_INVALID_ARG_VALUE', () => {
    const found = given.length === 0 ? 'none of them' : given.join(' and ');
    return `${caller}: condition must have one of ${conditionKinds.join(', ')}, got ${found}`;
  });
  return { [given[0]!]: sizes[given[0]!], ...(none && { none }) };
}

// Lists the architectures, and makes the network of a configuration.
import type { PixelCnnConfig } from './config.js';
import type { Network } from './network.js';
import { PlainNetwork } from './plain.js';

/** Makes the network of a configuration. It holds no weights, so it may be made as often as one likes. */
export function networkOf(config: PixelCnnConfig): Network {
  return new PlainNetwork(config);
}

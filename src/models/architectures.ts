// Makes the network of a configuration. Every architecture has a line here.
import type { PixelCnnConfig } from './config.js';
import { GatedNetwork } from './gated.js';
import type { Network } from './network.js';
import { PlainNetwork } from './plain.js';

/** Makes the network of a configuration. It holds no weights and is cheap, so nothing needs to keep it. */
export function networkOf(config: PixelCnnConfig): Network {
  return config.architecture === 'gated' ? new GatedNetwork(config) : new PlainNetwork(config);
}

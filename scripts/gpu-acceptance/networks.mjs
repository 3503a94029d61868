// Defines the networks that parts run: the default one of each architecture, and a tiny one where the GPU is emulated.

/** Options of the default network of an architecture. They say no more than what differs from the default. */
export const networks = { plain: {}, gated: { architecture: 'gated' } };

export const tinyNetworks = {
  plain: { channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
  gated: { architecture: 'gated', channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
};

/** Returns what a row says about its network: nothing about a plain one, as a model's file does. */
export function aboutNetwork(architecture) {
  return architecture === 'plain' ? {} : { architecture };
}

// Defines the model that replaces the default one where the GPU is emulated.
export const tinyModel = { channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };

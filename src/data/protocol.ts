// Defines the protocols, which say how the bytes of an image become the levels of a model (docs/levels.md).

/**
 * `levels` maps each byte to the level floor(byte * levels / 256), `threshold` makes it 1 from 128 on and 0
 * below, and `dynamic` draws 0 or 1 from Bernoulli(byte / 255), in training anew every epoch.
 */
export const protocols = ['levels', 'threshold', 'dynamic'] as const;
export type Protocol = (typeof protocols)[number];

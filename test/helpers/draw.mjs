// Draws images with a sampler driven by hand, for the logits that it draws from. Tests run it on src/ and
// scripts/gpu-acceptance on dist/, so the functions of the library are given.

/**
 * Draws `count` images of height x width in one run of the sampler. `library` has `buildSampler`, `frontOf` and
 * `frontSteps`; `given` replaces what the sampler begins with: `index`, `random`, `temperature`.
 * Returns `level` (N, H, W, channels) and `logits` (N, H, W, channels, levels), those that the levels were drawn from.
 */
export async function drawWithLogits(library, model, { count, height, width }, given = {}) {
  const internals = model.internals();
  const options = { n: count, height, width, weights: 'raw', given: false, logits: true };
  const sampler = await library.buildSampler(internals, options);
  try {
    const pixels = count * height * width;
    await sampler.begin(internals, {
      index: Uint32Array.from({ length: count }, (_, i) => i),
      random: Uint32Array.of(3, 4, 0, 0),
      temperature: Float32Array.of(1),
      known: new Uint8Array(pixels),
      level: new Uint8Array(pixels * model.config.channels),
      uniforms: undefined,
      ...given,
    });
    return await sampler.advance(library.frontSteps(library.frontOf(internals), height, width));
  } finally {
    sampler.dispose();
  }
}

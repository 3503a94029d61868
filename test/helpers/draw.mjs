// Draws images with a sampler driven by hand, for the logits that it draws from. Tests run it on src/ and
// scripts/gpu-acceptance on dist/, so the functions of the library are given.

/**
 * Draws `count` images of height x width in one run of the sampler: by `program`, or by blocks where it has them.
 * `library` has `buildSampler`, `passesOf` and `frontSteps`; `given` replaces what the sampler begins with: `index`,
 * `random`, `temperature`, and adds `condition` and `guidance`.
 * Returns `level` (N, H, W, channels) and `logits` (N, H, W, channels, levels), those that the levels were drawn from.
 */
export async function drawWithLogits(library, model, { count, height, width, program }, given = {}) {
  const internals = model.internals();
  const guided = given.guidance !== undefined;
  const options = { n: count, height, width, weights: 'raw', logits: true, guided };
  const sampler = await library.buildSampler(internals, options);
  try {
    const batch = {
      index: Uint32Array.from({ length: count }, (_, i) => i),
      random: Uint32Array.of(3, 4, 0, 0),
      temperature: Float32Array.of(1),
      ...given,
    };
    const steps = library.frontSteps(library.passesOf(internals, width).front, height, width);
    const fronts = { program: 'front', repeat: steps };
    const blocks = { program: 'block', repeat: Math.ceil(steps / sampler.block) };
    const chosen = program ?? (sampler.block > 0 ? 'block' : 'front');
    return await sampler.draw(chosen === 'block' ? blocks : fronts, batch);
  } finally {
    sampler.dispose();
  }
}

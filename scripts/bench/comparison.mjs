// Measures the variants of one network that take turns, ours and PyTorch's, and computes their ratios.

export const layouts = ['nchw', 'channels_last'];
/** PyTorch's bfloat16 is measured in the layout that is better for it. */
export const bf16 = { precision: 'bf16', layout: 'channels_last' };
/** One full forward pass per pixel of the images, which are this high and wide. */
export const side = 28;

/**
 * Returns our variants, { name, run }, of a network: `run` resolves with the milliseconds of one run. `devices` has a device
 * for `f32` and, where this processor computes in it, one for `bf16`. `fast` is the algorithm of the second forward pass.
 */
export function ownVariants(library, devices, { model, batch, fast }) {
  const { measureForward, measureSampling, measureTrainingStep } = library;
  const shared = { model, seconds: 0.4, batch };
  const training = (algorithm, device = devices.f32) => {
    return () => measureTrainingStep(device, { ...shared, algorithm });
  };
  const forward = (algorithm, device = devices.f32) => {
    return () => measureForward(device, { ...shared, algorithm });
  };
  const sampling = (images, device = devices.f32) => {
    return () => measureSampling(device, { model, seconds: 0.1, batch: images });
  };
  const variants = [
    { name: 'pixelcnn training step', run: training('auto') },
    { name: 'pixelcnn training step, direct', run: training('direct') },
    { name: `pixelcnn forward, ${fast}`, run: forward(fast) },
    { name: 'pixelcnn forward, direct', run: forward('direct') },
    { name: 'pixelcnn sampling 1', run: sampling(1) },
    { name: 'pixelcnn sampling 16', run: sampling(16) },
  ];
  if (devices.bf16 !== undefined) {
    variants.push(
      { name: 'pixelcnn training step, bf16', run: training('auto', devices.bf16) },
      { name: 'pixelcnn forward direct, bf16', run: forward('direct', devices.bf16) },
      { name: 'pixelcnn sampling 16, bf16', run: sampling(16, devices.bf16) },
    );
  }
  return variants.map(({ name, run }) => ({ name, run: async () => (await run()).milliseconds }));
}

/** Returns PyTorch's variants of the network that the peer has loaded. */
export function peerVariants(peer, batch) {
  const counts = { train: [batch], forward: [...new Set([batch, 1, 16])] };
  return Object.entries(counts).flatMap(([op, sizes]) => {
    const f32 = sizes.flatMap((n) => layouts.map((layout) => ({ op, precision: 'f32', layout, n })));
    return [...f32, { op, ...bf16, n: batch }].map((request) => ({
      name: peerName(request),
      run: async () => (await peer.request(request)).ms,
    }));
  });
}

function peerName({ op, precision, layout, n }) {
  return `pytorch ${op} ${precision} ${layout} of ${n}`;
}

/**
 * Returns how many times faster we are, by what is compared. `ms` has the milliseconds by the names of the variants. A ratio
 * is left out where one of its variants was not measured.
 */
export function ratios(ms, { batch, fast }) {
  const f32 = (op, n) => {
    return Math.min(...layouts.map((layout) => ms[peerName({ op, precision: 'f32', layout, n })]));
  };
  const half = (op) => ms[peerName({ op, ...bf16, n: batch })];
  const perPixel = (n) => side * side * f32('forward', n);
  const all = {
    'training step / pytorch f32': f32('train', batch) / ms['pixelcnn training step'],
    'training step / pytorch bf16': half('train') / ms['pixelcnn training step'],
    'training step bf16 / pytorch bf16': half('train') / ms['pixelcnn training step, bf16'],
    'training step direct / pytorch f32': f32('train', batch) / ms['pixelcnn training step, direct'],
    [`forward ${fast} / pytorch f32`]: f32('forward', batch) / ms[`pixelcnn forward, ${fast}`],
    [`forward ${fast} / pytorch bf16`]: half('forward') / ms[`pixelcnn forward, ${fast}`],
    'forward direct bf16 / pytorch bf16': half('forward') / ms['pixelcnn forward direct, bf16'],
    'forward direct / pytorch f32': f32('forward', batch) / ms['pixelcnn forward, direct'],
    'forward direct bf16 / forward direct f32':
      ms['pixelcnn forward, direct'] / ms['pixelcnn forward direct, bf16'],
    'sampling 1 / pytorch one forward per pixel': perPixel(1) / ms['pixelcnn sampling 1'],
    'sampling 16 / pytorch one forward per pixel': perPixel(16) / ms['pixelcnn sampling 16'],
    'sampling 16 bf16 / pytorch f32 one forward per pixel': perPixel(16) / ms['pixelcnn sampling 16, bf16'],
  };
  return Object.fromEntries(Object.entries(all).filter(([, ratio]) => Number.isFinite(ratio)));
}

/** Runs all variants in turn, `repeats` times after a warm-up, and returns the median times of each in milliseconds. */
export async function measureInTurns(variants, repeats, beforeRound) {
  const times = new Map(variants.map(({ name }) => [name, []]));
  for (let repeat = -1; repeat < repeats; repeat += 1) {
    beforeRound(repeat < 0 ? 'warm-up' : `round ${repeat + 1} of ${repeats}`);
    for (const { name, run } of variants) {
      // The other side's threads need a moment to go to sleep.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const ms = await run();
      if (repeat >= 0) times.get(name).push(ms);
    }
  }
  return Object.fromEntries([...times].map(([name, values]) => [name, median(values)]));
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

// Defines the models whose quality is published: how each is trained, and what its numbers are measured on.

/**
 * The flags of `pixelcnn train`, and the images and protocol of the test. `draws` counts the draws of dynamic
 * binarisation, `classify` asks for the accuracy by p(class | x), and `pretrained` models come with the package.
 */
export const recipes = {
  digits: {
    train: { preset: 'mnist-digits', steps: 20_000 },
    test: { data: 'mnist:test', protocol: 'threshold' },
    classify: true,
    pretrained: true,
  },
  fashion: {
    train: { preset: 'fashion-clothes' },
    test: { data: 'fashion-mnist:test', protocol: 'levels' },
    classify: true,
    pretrained: true,
  },
  'binary-plain': {
    train: { preset: 'mnist-binary', epochs: 5 },
    test: { data: 'mnist:test', protocol: 'dynamic', draws: 5 },
  },
  'binary-gated': {
    train: { preset: 'mnist-gated-cpu', epochs: 5 },
    test: { data: 'mnist:test', protocol: 'dynamic', draws: 5 },
  },
  'mnist-8bit': {
    train: { preset: 'mnist', epochs: 2 },
    test: { data: 'mnist:test', protocol: 'levels' },
  },
  'fashion-8bit': {
    train: { preset: 'fashion-mnist', epochs: 2 },
    test: { data: 'fashion-mnist:test', protocol: 'levels' },
  },
};

/** Returns the arguments of `pixelcnn` that train this model into the folder `run` and measure it. */
export function commandsOf({ train, test, classify = false }, run) {
  const flags = Object.entries(train).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { data, protocol, draws } = test;
  const drawn = draws === undefined ? [] : ['--draws', String(draws)];
  return {
    train: ['train', ...flags, '--out', run],
    evaluate: ['evaluate', run, '--data', data, '--protocol', protocol, ...drawn],
    ...(classify && { classify: ['classify', run, '--data', data] }),
  };
}

/**
 * Compares the config of a run with a recipe, whose preset is one of `presets`. Returns a sentence about the first setting
 * that is not the recipe's; undefined for a run of this recipe.
 */
export function otherSetting(config, { train }, presets) {
  const { preset, ...flags } = train;
  const { data, test, model, training, validation } = presets[preset];
  const { condition, ...network } = model;
  const { classes } = condition ?? {};
  const { steps: _, epochs: __, ...hyperparameters } = training;
  const length = 'steps' in flags || 'epochs' in flags ? {} : training;
  const { steps, epochs } = { ...length, ...flags };
  const defaults = { seed: 0, algorithm: 'auto', precision: 'auto', limit: undefined };
  const expected = {
    ...{ preset, data, test, validation, classes, steps, epochs },
    ...{ ...network, ...hyperparameters, ...defaults },
  };
  for (const [name, value] of Object.entries(expected)) {
    if (config[name] !== value) return `${name} is ${config[name]} in the run, and ${value} in the recipe`;
  }
  return undefined;
}

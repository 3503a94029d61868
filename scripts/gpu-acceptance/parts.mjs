// Lists the parts of the acceptance, in the order in which they are worth most when time runs out: what explains
// failures, what was never seen on a GPU, our own kernels before cuDNN, speed before the slow checks.
import { ownKernels } from './machine.mjs';

/**
 * Makes a part: the function `run` of a file in this folder. It is started if `seconds` are left, and killed after `limit`;
 * `emulatedSeconds` and `emulatedLimit` are those under --emulated. `options` go to the function, `env` to its process.
 */
function part(name, file, run, times, about, { options = {}, env = {} } = {}) {
  const [seconds, limit, emulatedSeconds, emulatedLimit] = times;
  const module = new URL(file, import.meta.url).href;
  return { name, about, module, run, seconds, limit, emulatedSeconds, emulatedLimit, options, env };
}

const own = { env: ownKernels, options: { kernels: 'own' } };
const cudnn = { options: { kernels: 'cuDNN' } };
/** Has a part run the gated network. */
const gated = ({ env = {}, options = {} }) => ({ env, options: { ...options, architecture: 'gated' } });

export const parts = [
  part('facts', 'facts.mjs', 'facts', [2, 40, 1, 20], 'what the machine has; never fails'),
  part('build', 'build.mjs', 'build', [30, 180, 1, 20], 'addon, CUDA library and kernel tests, with cmake'),
  ...['ops', 'masked_conv2d', 'masked_conv2d_pack'].map((program) =>
    part(
      `kernel-tests-${program.replaceAll('_', '-')}`,
      'kernel-tests.mjs',
      'kernelTests',
      [5, 40, 1, 20],
      `the C++ tests of the kernels (${program}) against the CPU on 40 random shapes`,
      { options: { program, shapes: 40 } },
    ),
  ),
  part(
    'sampling-speed-own',
    'speed.mjs',
    'samplingSpeed',
    [8, 60, 1, 20],
    'images drawn per second at batch 1, 16, 256 and 4,096',
    own,
  ),
  part(
    'training-speed-own',
    'speed.mjs',
    'trainingSpeed',
    [8, 60, 1, 20],
    'images trained per second by our own kernels at batch 64, 256 and 1,024',
    own,
  ),
  part(
    'trace-own',
    'speed.mjs',
    'trace',
    [4, 40, 1, 20],
    'time of every op of a step at batch 256, own kernels',
    own,
  ),
  part(
    'info-cudnn',
    'info.mjs',
    'info',
    [4, 60, 1, 10],
    'what the device is, and whether cuDNN survives its trial',
  ),
  part(
    'training-speed-cudnn',
    'speed.mjs',
    'trainingSpeed',
    [20, 150, 1, 20],
    'the same training with cuDNN beside our own kernels, its search for plans included',
    cudnn,
  ),
  part(
    'trace-cudnn',
    'speed.mjs',
    'trace',
    [6, 60, 1, 20],
    'time of every op of a step at batch 256, with cuDNN',
    cudnn,
  ),
  part(
    'plan-cache',
    'plan-cache.mjs',
    'planCache',
    [1, 10, 1, 10],
    'which engine was chosen for each convolution',
  ),
  part(
    'pytorch-eager',
    'pytorch.mjs',
    'pytorch',
    [25, 90, 1, 60],
    'PyTorch eager: training at 256 and 1,024, sampling by one forward pass per pixel, and a matrix product',
    { options: { compiled: false, batches: [256, 1024], sampling: [1, 256, 4096] } },
  ),
  part(
    'sampling',
    'sampling.mjs',
    'sampling',
    [15, 120, 2, 30],
    'the sampler is the forward pass bit for bit in every precision; the images are those of the CPU',
    { env: ownKernels },
  ),
  part(
    'training',
    'training.mjs',
    'training',
    [25, 120, 1, 30],
    "the CPU's first losses, and its loss and gradients from its own states after 0, 50, 100 and 200 steps",
  ),
  part(
    'training-bits',
    'training.mjs',
    'trainingBits',
    [8, 60, 1, 30],
    'a second run, and ops one by one instead of graphs, give the same bits',
  ),
  part(
    'gated-golden',
    'golden.mjs',
    'golden',
    [3, 60, 1, 60],
    'a gated network computes, learns and draws what PyTorch computed in float64, in every precision',
    { env: ownKernels },
  ),
  part(
    'gated-sampling',
    'sampling.mjs',
    'sampling',
    [25, 120, 2, 60],
    'as `sampling`, with gated networks that draw rows side by side or compute whole rows',
    gated({ env: ownKernels }),
  ),
  part(
    'gated-training-speed-own',
    'speed.mjs',
    'trainingSpeed',
    [8, 60, 1, 20],
    'as `training-speed-own`, with the gated network',
    gated(own),
  ),
  part(
    'gated-sampling-speed-own',
    'speed.mjs',
    'samplingSpeed',
    [10, 60, 1, 20],
    'as `sampling-speed-own`, with the gated network',
    gated(own),
  ),
  part(
    'gated-trace-own',
    'speed.mjs',
    'trace',
    [4, 40, 1, 20],
    'time of every op of a gated step at batch 256, own kernels',
    gated(own),
  ),
  part(
    'gated-training-speed-cudnn',
    'speed.mjs',
    'trainingSpeed',
    [20, 150, 1, 20],
    'gated training with cuDNN where it has graphs for a convolution',
    gated(cudnn),
  ),
  part(
    'gated-pytorch-eager',
    'pytorch.mjs',
    'pytorch',
    [25, 90, 1, 60],
    'the gated network in PyTorch eager: training at 256 and 1,024, sampling by one forward pass per pixel',
    gated({ options: { compiled: false, batches: [256, 1024], sampling: [1, 256, 4096] } }),
  ),
  part(
    'gated-training',
    'training.mjs',
    'training',
    [25, 120, 1, 120],
    'as `training`, with the gated network',
    gated({}),
  ),
  ...[
    ['training', 0, 24],
    ['sampling', 420, 8],
  ].map(([work, skip, count]) =>
    part(
      `profile-${work}`,
      'profile.mjs',
      'profile',
      [20, 60, 1, 10],
      `hardware counters of our kernels in ${work}`,
      {
        env: ownKernels,
        options: { work, skip, count },
      },
    ),
  ),
  part('pytorch-compiled', 'pytorch.mjs', 'pytorch', [45, 120, 1, 60], 'PyTorch compiled: training at 256', {
    options: { compiled: true, batches: [256], sampling: [] },
  }),
  part(
    'gated-pytorch-compiled',
    'pytorch.mjs',
    'pytorch',
    [45, 120, 1, 60],
    'the gated network in PyTorch compiled: training at 256',
    gated({ options: { compiled: true, batches: [256], sampling: [] } }),
  ),
  ...['memcheck', 'racecheck', 'synccheck', 'initcheck'].map((tool) =>
    part(
      tool,
      'kernel-tests.mjs',
      'sanitized',
      [20, 120, 1, 20],
      `the kernel tests on 3 shapes under compute-sanitizer's ${tool}`,
      { options: { tool, shapes: 3 } },
    ),
  ),
  ...['direct', 'auto'].flatMap((algorithm, a) =>
    ['bf16', 'f32', 'tf32', 'f16'].map((precision, p) =>
      part(
        `operations-${precision}-${algorithm}`,
        'operations.mjs',
        'operations',
        algorithm === 'direct' ? [5, 60, 1, 20] : [15, 90, 1, 20],
        `ops of convolutions and gates through the addon against the CPU: ${precision}, ${algorithm}`,
        {
          options: {
            precision,
            algorithm,
            shapes: algorithm === 'direct' ? 16 : 4,
            firstSeed: 1 + 100 * (4 * a + p),
          },
          env: algorithm === 'direct' ? ownKernels : {},
        },
      ),
    ),
  ),
  part(
    'quality',
    'quality.mjs',
    'quality',
    [60, 240, 6, 30],
    'trains MNIST for the time that is left and scores the test images',
  ),
  part(
    'gated-quality',
    'quality.mjs',
    'quality',
    [60, 310, 6, 30],
    'trains a gated network on binarised MNIST for the time that is left, at most 5 minutes, and scores it',
    { options: { preset: 'mnist-gated' } },
  ),
];

// Runs the parts `training` and `training-bits`: they check that training is that of the CPU, and gives the same
// bits in every run.
import { openDevice } from '../../dist/index.js';
import { withoutCudnn } from './info.mjs';
import { ownKernels } from './machine.mjs';
import { attempt } from './part.mjs';
import {
  compareLosses,
  compareState,
  firstLosses,
  replayState,
  trainBits,
  trainingProblem,
  trainReference,
} from './training-reference.mjs';

/** Compares training with our own kernels first, before cuDNN is used, then with what is chosen where cuDNN is. */
export async function training({ emulated, architecture, say }) {
  const problem = trainingProblem({ emulated, architecture });
  const reference = await trainReference(problem);
  const [first, last] = [reference.losses[0], reference.losses.at(-1)];
  const learns = last < first ? {} : { failure: 'the CPU did not learn' };
  say({ reference: 'CPU', steps: reference.losses.length, first, last, ...learns });
  const given = process.env.PIXELCNN_CUDNN;
  process.env.PIXELCNN_CUDNN = ownKernels.PIXELCNN_CUDNN;
  await againstReference('direct', problem, reference, say);
  if (given === undefined) delete process.env.PIXELCNN_CUDNN;
  else process.env.PIXELCNN_CUDNN = given;
  const device = await openDevice({ backend: 'cuda' });
  await device.dispose();
  if (withoutCudnn(device)) say({ auto: `is direct here: ${device.info.cudnn}` });
  else await againstReference('auto', problem, reference, say);
}

async function againstReference(algorithm, problem, reference, say) {
  const about = { algorithm, precision: 'f32' };
  await attempt(say, { check: 'first steps', ...about }, async () => {
    const losses = await firstLosses({ backend: 'cuda', precision: 'f32' }, problem, algorithm);
    return compareLosses(losses, reference.losses);
  });
  const device = await openDevice({ backend: 'cuda' });
  await device.dispose();
  for (const precision of new Set(['f32', device.info.precision, 'f16'])) {
    for (const state of reference.states) {
      await attempt(say, { check: 'gradients', algorithm, precision, after: state.at }, async () => {
        const actual = await replayState({ backend: 'cuda', precision }, problem, algorithm, state);
        return compareState(actual, state, precision);
      });
    }
  }
}

export async function trainingBits({ emulated, say }) {
  const problem = trainingProblem({ emulated });
  const steps = Math.max(...problem.states);
  const run = () => trainBits({ backend: 'cuda' }, problem, steps);
  const once = await run();
  say({ steps, first: once.losses[0], last: once.losses.at(-1), graphs: once.graphs });
  // If graphs were refused, the ops ran one by one, and the comparison below would show nothing.
  if (once.graphs !== 'graphs') say({ failure: `the steps were not recorded: ${once.graphs}` });
  const same = (check, variables) =>
    attempt(say, { check }, async () => {
      Object.assign(process.env, variables);
      const other = await run();
      for (const name of Object.keys(variables)) delete process.env[name];
      const step = once.losses.findIndex((loss, i) => !Object.is(loss, other.losses[i]));
      const weights = once.weights.equals(other.weights);
      const failure = `${check}: ${step < 0 ? 'other weights in the end' : `another loss at step ${step}`}`;
      return step < 0 && weights ? { same: true } : { same: false, failure };
    });
  await same('a second run', {});
  await same('ops one by one', { PIXELCNN_GRAPHS: '0' });
}

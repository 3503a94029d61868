// Compares the memory that a training step takes with what has to live at once.

/**
 * Runs one training step and returns its memory in bytes: { resident, needed, ratio, parts }. `resident` is what is
 * allocated: the arenas of the model, of the optimizer and of the step's program, and the workspace of its largest op.
 * `needed` is the sum of `parts`: parameters with their moving average, gradients and moments (`state`), saved activations,
 * the two largest gradients of activations, and the scratch of one op, which is the workspace and the largest packed filter.
 */
export async function measureMemory(library, device, options, { batch, side }) {
  const { PixelCNN, TrainingStep, trainSchema } = library;
  const model = await PixelCNN.create(device, options);
  const internals = model.internals();
  const settings = { height: side, width: side, dynamic: false, algorithm: 'auto' };
  const step = await TrainingStep.create(internals, settings);
  try {
    const bytes = new Uint8Array(batch * side * side * model.config.channels);
    await step.run({ bytes, count: batch }, trainSchema.parse({}));
    const { state, arena, workspace } = step.memory;
    const tensors = await stepTensors(library, device, internals, { batch, side });
    const parameters = internals.arena.bytes;
    return account({ parameters, state, arena, workspace, ...tensors });
  } finally {
    step.dispose();
    model.dispose();
  }
}

/** Returns { resident, needed, ratio, parts } of the sizes of a training step. All are in bytes. */
export function account({ parameters, state, arena, workspace, saved, gradients, packed }) {
  const [first = 0, second = 0] = gradients.toSorted((a, b) => b - a);
  const parts = {
    parametersAndOptimizer: parameters + state,
    savedActivations: saved.reduce((sum, bytes) => sum + bytes, 0),
    twoLargestGradients: first + second,
    scratchOfOneOp: workspace + Math.max(0, ...packed),
  };
  const needed = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  const resident = parameters + state + arena + workspace;
  return { resident, needed, ratio: resident / needed, parts };
}

/**
 * Records a training step without running it, and returns the bytes of its tensors by what they are for: those `saved` by
 * the forward pass for the gradients, the `gradients` of activations, and the `packed` filters.
 */
async function stepTensors(library, device, model, { batch, side }) {
  const { ArenaLayout, ParameterSet, Recorder, recordNats, recordGradients, operandsOf } = library;
  const layout = new ArenaLayout();
  const places = new ParameterSet(layout, model.network.parameters, 'gradient');
  const r = new Recorder(device, {
    algorithm: 'auto',
    parameters: model.raw.byName,
    gradients: places.byName,
  });
  const given = r.input('bytes', [batch, side, side, model.config.channels], 'uint8');
  recordNats(r, model, { bytes: given, condition: null });
  recordGradients(r);
  // The op of the head is the last of the forward pass, and computes the first gradients.
  const head = r.ops.findIndex(({ op }) => op === 'softmaxCrossEntropy');
  const ofForward = new Set(r.ops.slice(0, head).flatMap(operandsOf));
  const ofGradients = new Set(r.ops.slice(head).flatMap(operandsOf));
  const fixed = new Set([...model.raw.byName.values(), ...places.byName.values()]);
  const saved = [];
  const gradients = [];
  const packed = [];
  for (const tensor of new Set([...ofForward, ...ofGradients])) {
    if (fixed.has(tensor)) continue;
    if (tensor.dtype === 'byte') packed.push(tensor.bytes);
    else if (ofForward.has(tensor) && ofGradients.has(tensor)) saved.push(tensor.bytes);
    else if (ofGradients.has(tensor)) gradients.push(tensor.bytes);
  }
  return { saved, gradients, packed };
}

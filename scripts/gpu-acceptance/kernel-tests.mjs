// Runs the parts `kernel-tests-*` and those of compute-sanitizer: the C++ tests of the kernels against the CPU,
// without cuDNN.
import { kernelTest } from './machine.mjs';
import { runCommand } from './part.mjs';

/** Runs a test program on this number of random shapes. */
export async function kernelTests({ program, shapes, emulated, say }) {
  const count = emulated ? Math.min(shapes, 8) : shapes;
  await runTest([kernelTest(program, { emulated }), String(count), '1'], { program, shapes: count }, { say });
}

/** Runs a test program on a few shapes under a tool of compute-sanitizer, or once under the checks of the emulator. */
export async function sanitized({ tool, shapes, emulated, say }) {
  if (emulated && tool !== 'memcheck')
    return say({ leftOut: 'the checks of the emulator are those of memcheck' });
  if (!emulated && (await runCommand('compute-sanitizer', ['--version'])).code !== 0)
    return say({ leftOut: 'compute-sanitizer is not on the PATH' });
  const checks = ['compute-sanitizer', '--tool', tool, '--error-exitcode', '9', '--print-limit', '5'];
  // Without this the tests fill fresh memory with a pattern, and the tool would take it for initialised.
  const env = tool === 'initcheck' ? { PIXELCNN_TEST_INITCHECK: '1' } : {};
  for (const program of ['masked_conv2d', 'ops']) {
    const test = [kernelTest(program, { emulated }), String(shapes), '3'];
    await runTest(emulated ? test : [...checks, ...test], { tool, program, shapes }, { env, say });
  }
}

async function runTest([command, ...args], about, { env, say }) {
  const { code, output } = await runCommand(command, args, { env });
  const says = output.trim().split('\n').slice(-4);
  const why = `${Object.values(about).join(' ')}: ended with ${code}: ${output.trim().slice(-2000)}`;
  say({ ...about, says, ...(code === 0 ? {} : { failure: why }) });
}

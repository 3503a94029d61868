// Runs the part `facts`, which writes down what the machine has. It explains later failures and never fails itself.
import { cudnnWheel } from './machine.mjs';
import { runCommand } from './part.mjs';

const tools = ['make', 'ninja', 'ncu', 'compute-sanitizer', 'cuobjdump', 'git', 'npm', 'tar', 'gzip'];

export async function facts({ python, say }) {
  const commands = {
    'nvidia-smi': ['nvidia-smi', []],
    nvcc: ['nvcc', ['--version']],
    'g++': ['g++', ['--version']],
    cmake: ['cmake', ['--version']],
    kernel: ['uname', ['-a']],
    python: [python, ['-c', 'import sys; print(sys.executable, sys.prefix, sys.version)']],
    torch: [python, ['-W', 'ignore', '-c', 'import torch; print(torch.__version__)']],
  };
  for (const [fact, [command, args]] of Object.entries(commands)) {
    const { code, output } = await runCommand(command, args, { seconds: 10 });
    say({ fact, is: code === 0 ? output.trim().slice(0, 2000) : `${code}: ${output.trim().slice(-200)}` });
  }
  const found = {};
  for (const tool of tools) {
    const { stdout } = await runCommand('sh', ['-c', `command -v ${tool}`]);
    found[tool] = stdout.trim() || 'not there';
  }
  say({ fact: 'tools', is: found });
  const wheel = cudnnWheel(python);
  const libraries = wheel === undefined ? '' : (await runCommand('ls', [`${wheel}/lib`])).stdout;
  say({ fact: 'cuDNN wheel', is: wheel ?? 'not there', libraries: libraries.trim().split('\n') });
  const wanted = /^(CUDA|CUDNN|PIXELCNN|VIRTUAL_ENV|CONDA|LD_LIBRARY_PATH|PATH$|NVIDIA)/;
  const variables = Object.entries(process.env).filter(([name]) => wanted.test(name));
  say({ fact: 'environment', is: Object.fromEntries(variables) });
}

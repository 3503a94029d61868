// Finds a Python with torch and safetensors, where there is one.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

/** The first of PIXELCNN_PYTHON, ../.venv, .venv and python3 that imports torch and safetensors, or why none does. */
export function findTorch(): { python: string } | { reason: string } {
  const named = process.env.PIXELCNN_PYTHON;
  const candidates = [
    named,
    `${packageRoot}../.venv/bin/python`,
    `${packageRoot}.venv/bin/python`,
    'python3',
  ].filter((path): path is string => {
    return path !== undefined && path !== '' && (!path.includes('/') || existsSync(path));
  });
  const reasons: string[] = [];
  for (const python of candidates) {
    try {
      execFileSync(python, ['-c', 'import torch, safetensors.torch'], { stdio: 'pipe', timeout: 60_000 });
      return { python };
    } catch (error) {
      const last = String((error as { stderr?: unknown }).stderr ?? error)
        .trim()
        .split('\n')
        .at(-1);
      reasons.push(`${python}: ${last}`);
    }
  }
  return { reason: `no Python with torch and safetensors (${reasons.join('; ')}); set PIXELCNN_PYTHON` };
}

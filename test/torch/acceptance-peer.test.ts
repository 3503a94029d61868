// Tests that the gated network which the acceptance measures in PyTorch is ours: it computes the golden logits.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { goldenFolder } from '../helpers/golden-files.js';
import { findTorch } from '../helpers/python.js';
import { skipAloud } from '../helpers/skip.js';

const torch = findTorch();
const script = fileURLToPath(new URL('acceptance-peer.py', import.meta.url));

function distance(...args: string[]): number {
  const given = [script, `${goldenFolder}gated_binary.safetensors`, ...args];
  const python = 'python' in torch ? torch.python : '';
  return Number(execFileSync(python, given, { encoding: 'utf8', timeout: 120_000 }));
}

describe.skipIf(skipAloud("the acceptance's peer", 'reason' in torch ? torch.reason : undefined))(
  'the gated peer',
  () => {
    it('computes the golden logits', { timeout: 120_000 }, () => {
      expect(distance()).toBeLessThan(1e-5);
    });

    it('does not where the halves of its gates are neighbours', { timeout: 120_000 }, () => {
      expect(distance('neighbours')).toBeGreaterThan(0.1);
    });
  },
);

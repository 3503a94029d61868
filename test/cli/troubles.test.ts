// Tests that a trouble that lasts is reported once, then rarely, at once when its reason changes, and when it is
// over.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Terminal } from '../../src/cli/terminal.js';
import { Troubles } from '../../src/cli/troubles.js';

const minute = 60_000;
let now = 0;
let told: string[] = [];
let troubles: Troubles;
beforeEach(() => {
  now = 0;
  told = [];
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  troubles = new Troubles({ problem: (text: string) => told.push(text) } as unknown as Terminal);
});
afterEach(() => {
  vi.restoreAllMocks();
});

it('is told once in ten minutes', () => {
  for (let i = 0; i < 25; i += 1, now += minute) troubles.report('samples', 'ENOSPC', `full at ${i}`);
  expect(told).toEqual(['full at 0', 'full at 10', 'full at 20']);
});

it('is told at once when the reason is another one, and each kind by itself', () => {
  troubles.report('samples', 'ENOSPC', 'full');
  troubles.report('checkpoint', 'ENOSPC', 'full, too');
  troubles.report('samples', 'EIO', 'broken');
  troubles.report('samples', 'EIO', 'broken again');
  expect(told).toEqual(['full', 'full, too', 'broken']);
});

it('is over once, and a new one is told', () => {
  troubles.solved('samples', 'saved');
  troubles.report('samples', 'ENOSPC', 'full');
  troubles.solved('samples', 'saved again');
  troubles.solved('samples', 'saved again');
  troubles.report('samples', 'ENOSPC', 'full again');
  expect(told).toEqual(['full', 'saved again', 'full again']);
});

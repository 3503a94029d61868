// The README's table of GPU numbers, which scripts/gpu-acceptance/table.mjs makes of a report.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('the table of GPU numbers', () => {
  const report = {
    gpu: 'A GPU',
    driver: '580',
    emulated: false,
    parts: {
      throughput: {
        failures: [],
        precision: 'bf16',
        peer: { torch: '2.11' },
        training: [
          {
            model: 'm',
            batch: 64,
            imagesPerSecond: 1234.5,
            timesEager: 3,
            timesCompiled: null,
            shareOfMatmul: 0.25,
          },
        ],
        sampling: [
          { model: 'm', batch: 1, imagesPerSecond: 2, milliseconds: 500, timesOneForwardPerPixel: 1500 },
        ],
      },
    },
  };
  const marks = [
    '<!-- gpu numbers: made by scripts/gpu-acceptance/table.mjs -->',
    '<!-- end of gpu numbers -->',
  ];

  it('goes between its marks, again and again the same', async () => {
    const { withTable } = await import(`${root}scripts/gpu-acceptance/table.mjs`);
    const once = withTable(`before\n${marks.join('\n')}\nafter\n`, report, 'r.json');
    expect(once).toContain('| training, m | 64 | 1235 | 3.00× eager, –× compiled | 25% |');
    expect(once).toContain('| sampling, m | 1 | 2.0 | 1500× one forward per pixel | 500.0 ms |');
    expect(once.startsWith('before\n') && once.endsWith('\nafter\n')).toBe(true);
    expect(withTable(once, report, 'r.json')).toBe(once);
  });

  it('has its marks in the README', async () => {
    const { withTable } = await import(`${root}scripts/gpu-acceptance/table.mjs`);
    expect(withTable(readFileSync(`${root}README.md`, 'utf8'), report, 'r.json')).toContain(
      '| training, m |',
    );
  });

  it('is not made of an emulated report, nor where there are no marks', async () => {
    const { withTable } = await import(`${root}scripts/gpu-acceptance/table.mjs`);
    expect(() => withTable(marks.join('\n'), { ...report, emulated: true }, 'r.json')).toThrow(/emulated/);
    expect(() => withTable('', report, 'r.json')).toThrow(/lacks/);
  });
});

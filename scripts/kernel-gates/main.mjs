// Compiles the CUDA kernels and checks the machine code against limits: registers, spills, blocks at once, and the
// instructions themselves. It needs nvcc, but no GPU.
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, root } from '../steps.mjs';
import { readKernels } from './cubin.mjs';
import { complaintsOf, withProduct } from './limits.mjs';
import { buildFlags, compile, findNvcc } from './nvcc.mjs';
import { architectures } from './occupancy.mjs';
import { readTiles } from './products.mjs';

const help = `Usage: node scripts/kernel-gates/main.mjs [--all] [--folder FOLDER] [--flag FLAG]... [FILE.cu]...

Compiles the files, by default all of cuda/, for sm_90 with the flags of the build, and compares every kernel with
scripts/kernel-gates/limits.mjs. Exit code 1 with a sentence for each limit that is broken, 2 where there is no nvcc.

  --all            sm_80 too
  --folder FOLDER  where the files are, instead of cuda/
  --flag FLAG      one more flag for nvcc, to see what it does: --flag=-maxrregcount=96

Columns: blocks at once on a multiprocessor; bytes of spills, stack frame and shared memory; LDL, STL and generic
accesses as "local"; cp.async of 16 bytes as "copies"; instructions of the main loop for each HMMA.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    folder: { type: 'string', default: `${root}cuda` },
    flag: { type: 'string', multiple: true, default: [] },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(help);
else check();

function check() {
  const nvcc = findNvcc();
  if (nvcc.reason !== undefined) {
    process.stderr.write(`The kernels are not checked: ${nvcc.reason}.\n`);
    process.exitCode = 2;
    return;
  }
  const folder = resolve(values.folder);
  const files =
    positionals.length > 0 ? positionals : readdirSync(folder).filter((name) => /\.cu$/.test(name));
  if (files.length === 0) fail(`There is no .cu file in ${folder}.`);
  const shapes = readTiles(folder);
  const flags = [...buildFlags(), ...values.flag];
  const rows = [];
  const complaints = [];
  for (const architecture of values.all ? architectures : architectures.slice(0, 1)) {
    for (const file of files.sort()) {
      const compiled = compile(nvcc, join(folder, file), architecture, flags);
      if (compiled.complaint !== undefined) {
        complaints.push(`sm_${architecture} ${file} does not compile:\n${compiled.complaint}`);
        continue;
      }
      const kernels = readKernels({ ...compiled, architecture }).map((kernel) =>
        withProduct(kernel, shapes, architecture),
      );
      rows.push(...kernels.map((kernel) => rowOf(kernel, architecture)));
      complaints.push(...complaintsOf(file, kernels, architecture));
    }
  }
  printTable(rows);
  if (complaints.length > 0) fail(complaints.join('\n'));
  process.stdout.write(`\n${rows.length} kernels, nvcc ${nvcc.release}: all within their limits.\n`);
}

function rowOf(kernel, architecture) {
  return {
    '': `sm_${architecture} ${kernel.kernel}`,
    registers: kernel.registers,
    blocks: kernel.blocks ?? '-',
    spill: kernel.spill,
    stack: kernel.stack,
    shared: kernel.shared,
    instructions: kernel.instructions,
    local: kernel.LDL + kernel.STL + kernel.LD + kernel.ST,
    HMMA: kernel.HMMA,
    LDSM: kernel.LDSM,
    copies: kernel.vectorCopies,
    'per HMMA': kernel.perHmma?.toFixed(1) ?? '-',
  };
}

function printTable(rows) {
  const names = Object.keys(rows[0] ?? {});
  const widths = names.map((name) => Math.max(name.length, ...rows.map((row) => String(row[name]).length)));
  const print = (cells) => {
    const padded = cells.map((cell, at) =>
      at === 0 ? String(cell).padEnd(widths[at]) : String(cell).padStart(widths[at]),
    );
    process.stdout.write(`${padded.join('  ')}\n`);
  };
  print(names);
  for (const row of rows) print(Object.values(row));
}

// Runs clang-tidy over the native sources with the checks of .clang-tidy; a fault planted in a copy must be found.
// Usage: node scripts/check/clang-tidy.mjs [files …]   (needs the compile commands of the native build)
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import { fail, outputOf, root } from '../steps.mjs';

const given = process.argv.slice(2);
// A kernel file is compiled once per instruction set and checked once. The analyzer, which follows paths through
// branches, is off for it: it takes half a minute and has nothing to find in straight loops over numbers.
const sources = new Map(
  JSON.parse(readFileSync(`${root}build/compile_commands.json`, 'utf8'))
    .map(({ file, command }) => [
      relative(root, file),
      /-DPIXELCNN_ISA=/.test(command) ? ['--checks=-clang-analyzer-*'] : [],
    ])
    // Debian's clang does not know nvcc's language, so .cu files are checked by the emulator instead.
    .filter(([file]) => /^(native|cuda)\/.*\.cc$/.test(file)),
);
const files = given.length > 0 ? given : [...sources.keys()];
if (files.length < 20 && given.length === 0)
  fail(`Only ${files.length} native sources in build/compile_commands.json.`);

const start = performance.now();
headersAreSeen();
await plantedFault();
const findings = await inParallel(files, tidy);
if (findings.some((text) => text !== '')) fail(`clang-tidy:\n${findings.join('')}`);
const seconds = ((performance.now() - start) / 1000).toFixed(1);
process.stderr.write(`── clang-tidy: ${files.length} files, 0 findings, ${seconds} s\n`);

/** Returns what clang-tidy finds in a file; an empty text means nothing. */
function tidy(file, args = ['-p', 'build', '--quiet', ...(sources.get(file) ?? []), file]) {
  return new Promise((resolve) => {
    const child = spawn('clang-tidy', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', () => fail('clang-tidy is not installed; npm run test:slow installs it'));
    child.on('close', (code) => resolve(code === 0 ? '' : `${stdout}${stderr}`));
  });
}

/** Refuses a filter that leaves out headers of ours, where clang-tidy would keep silent about every fault. */
function headersAreSeen() {
  const config = readFileSync(`${root}.clang-tidy`, 'utf8');
  const filter = new RegExp(/^HeaderFilterRegex: '(.*)'$/m.exec(config)[1]);
  const headers = outputOf('git', ['ls-files', 'native/*.h', 'cuda/*.h']).split('\n');
  const unseen = headers.filter((name) => !filter.test(root + name));
  if (unseen.length > 0) fail(`.clang-tidy: HeaderFilterRegex leaves out ${unseen.join(', ')}.`);
}

async function plantedFault() {
  const file = `${root}build/planted_tidy.cc`;
  writeFileSync(
    file,
    '#include <utility>\n#include <vector>\nsize_t f(std::vector<int> a) {\n  std::vector<int> b = std::move(a);\n  return a.size() + b.size();\n}\n',
  );
  const found = await tidy(file, ['--quiet', `--config-file=${root}.clang-tidy`, file, '--', '-std=c++20']);
  rmSync(file);
  if (!found.includes('bugprone-use-after-move'))
    fail(`clang-tidy did not find a planted use after move:\n${found}`);
  process.stderr.write('── planted use after move: found\n');
}

/** Calls `body` for all items, as many at once as there are processors, and returns the results. */
async function inParallel(items, body) {
  const results = [];
  const waiting = [...items];
  const work = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift())
      results.push(await body(item));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return results;
}

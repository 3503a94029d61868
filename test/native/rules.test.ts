// Checks rules for the native sources that compilers do not enforce: no mutable statics, no end of the
// process, no printing, no bare ownership.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = ['native', 'cuda'].flatMap((folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(cc|h|cu|cuh)$/.test(name))
    .map((name) => `${folder}/${name}`),
);

/** Code without comments and without what stands in quotes. */
function codeOf(text: string): string[] {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/"(?:[^"\\\n]|\\.)*"/g, '""')
    .split('\n')
    .map((line) => line.replace(/\/\/.*$/, ''));
}

const rules: Record<string, RegExp> = {
  'ends the process': /\b(abort|_?exit|_Exit|quick_exit|terminate|assert|__builtin_trap)\s*\(/,
  'ends the process through Node':
    /\b(NAPI_FATAL|napi_fatal_error|napi_fatal_exception|Napi::Error::Fatal)\b/,
  prints: /\b(f?printf|f?puts|putchar|perror)\s*\(|\bstd::(cout|cerr|clog)\b/,
  'is mutable for the whole process':
    /^\s*(static|thread_local|inline)\s+(?!const\b|constexpr\b|inline\b|_?_?assert)(?!.*\boperator\b)[\w:<>,&* ]+\s[\w]+\s*(=|;|\{)/,
  'owns by hand': /(?<!\*|_ptr<\w+>\()\bnew\s+[\w:]|\bdelete\b(?!\s*;)/,
  'catches signals': /\b(signal|sigaction|setjmp|longjmp|atexit)\s*\(/,
};

/** Where a rule does not hold, and why. */
const exceptions: Record<string, { rules: string[]; because: string }> = {
  'cuda/backend.cu': {
    rules: ['is mutable for the whole process'],
    because: 'all devices of one GPU take turns, whichever environments of the process they belong to',
  },
  'cuda/cudnn/loader.cc': {
    rules: ['is mutable for the whole process'],
    because: 'cuDNN is opened once per process and never closed',
  },
  'cuda/cudnn/probe.cc': {
    rules: ['ends the process', 'catches signals'],
    because: 'it is the child process in which cuDNN is tried that ends',
  },
};

/** `file:line rule: code` for every line that breaks a rule. */
function breaches(file: string, text: string): string[] {
  return codeOf(text).flatMap((line, index) =>
    Object.entries(rules)
      .filter(([, pattern]) => pattern.test(line))
      .map(([rule]) => `${file}:${index + 1} ${rule}: ${line.trim()}`),
  );
}

describe('native sources', () => {
  it('are there', () => expect(sources.length).toBeGreaterThan(40));

  it.each(sources)('%s keeps the rules', (file) => {
    const found = breaches(file, readFileSync(`${root}${file}`, 'utf8'));
    const excepted = exceptions[file]?.rules ?? [];
    expect(found.filter((breach) => !excepted.some((rule) => breach.includes(` ${rule}: `)))).toEqual([]);
    for (const rule of excepted) expect(found.join(), 'an exception that nothing needs').toContain(rule);
  });

  it.each([
    ['ends the process', '  if (bytes == 0) std::abort();'],
    ['ends the process', '  assert(tensor != nullptr);'],
    ['ends the process', '  exit(1);'],
    ['ends the process through Node', '  napi_fatal_error("here", 4, "why", 3);'],
    ['prints', '  std::printf("%d\\n", n);'],
    ['prints', '  std::cerr << n;'],
    ['is mutable for the whole process', 'static int calls = 0;'],
    ['is mutable for the whole process', 'static std::mutex mutex;'],
    ['is mutable for the whole process', 'thread_local std::vector<float> scratch;'],
    ['is mutable for the whole process', '  static Napi::FunctionReference constructor;'],
    ['owns by hand', '  Device* device = new Device(env);'],
    ['owns by hand', '  delete device;'],
    ['catches signals', '  std::signal(SIGTERM, handler);'],
  ])('planted: %s in `%s`', (rule, line) => {
    expect(breaches('planted.cc', `namespace pixelcnn {\n${line}\n}`).join()).toContain(rule);
  });

  it.each([
    'constexpr int kExit = 1;  // assert(false) in a comment',
    '  Arena(const Arena&) = delete;',
    '  static std::shared_ptr<Device> open(Napi::Env env);',
    '  static const auto& names = *new std::vector<std::string>{',
    'static_assert(sizeof(float) == 4);',
    'inline constexpr int64_t kBlockBytes = 256;',
    '  throw Error("ERR_X", "abort() in a string");',
  ])('fine: `%s`', (line) => {
    expect(breaches('planted.cc', line)).toEqual([]);
  });
});

// Checks that native sources include the standard headers they use, themselves or through our headers,
// because a newer libstdc++ may remove includes from its own headers (as GCC 14's <functional> dropped
// <algorithm>).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = ['native', 'cuda'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(cc|h|cu)$/.test(name))
    .map((name) => `${folder}/${name}`),
);

/** Names in std::, by header. Those of two headers, like std::size, are left out. */
const names: Record<string, string> = {
  algorithm:
    'all_of|any_of|binary_search|clamp|copy|copy_if|copy_n|count|count_if|equal|fill|fill_n|find|find_if|find_if_not|' +
    'for_each|generate|lexicographical_compare|lower_bound|max|max_element|min|min_element|minmax|mismatch|none_of|' +
    'nth_element|partition|remove|remove_if|replace|reverse|rotate|search|sort|stable_sort|transform|unique|upper_bound',
  array: 'array',
  atomic: 'atomic|memory_order_\\w+',
  charconv: 'from_chars|to_chars',
  chrono: 'chrono',
  cmath: 'ceil|exp|floor|isfinite|isnan|log|pow|round|sqrt',
  condition_variable: 'condition_variable',
  cstddef: 'byte',
  cstdio: 'snprintf',
  cstdlib: 'aligned_alloc|calloc|free|getenv|malloc',
  cstring: 'mem(chr|cmp|cpy|move|set)|str(cmp|len|ncmp|ncpy)',
  deque: 'deque',
  exception: 'exception|exception_ptr|current_exception|rethrow_exception',
  filesystem: 'filesystem',
  fstream: 'ifstream|ofstream',
  functional: 'function|hash|less|greater',
  iterator: 'back_inserter|distance|next|prev',
  limits: 'numeric_limits',
  map: 'map',
  memory: 'unique_ptr|shared_ptr|weak_ptr|make_unique|make_shared|enable_shared_from_this',
  mutex: 'mutex|lock_guard|scoped_lock|unique_lock',
  new: 'bad_alloc|nothrow',
  numeric: 'accumulate|iota|inner_product|reduce',
  optional: 'optional|nullopt',
  set: 'set',
  span: 'span',
  sstream: '[io]?stringstream',
  stdexcept: 'invalid_argument|logic_error|out_of_range|runtime_error',
  string: 'getline|string|to_string',
  string_view: 'string_view',
  system_error: 'error_code|generic_category|system_error',
  thread: 'thread|this_thread',
  tuple: 'tuple|tie|make_tuple|apply',
  type_traits: '(is|has)_\\w+_v|decay_t|conditional_t|remove_\\w+_t|underlying_type_t',
  utility: 'as_const|exchange|forward|move|pair|swap',
  variant: 'get_if|holds_alternative|monostate|variant|visit',
  vector: 'vector',
};
const users = [
  ...Object.entries(names).map(([header, all]) => ({ header, pattern: new RegExp(`\\bstd::(${all})\\b`) })),
  { header: 'algorithm', pattern: /\bstd::move\([^(),]+,[^(),]+,[^(),]+\)/ },
  { header: 'cstdint', pattern: /\bu?int(8|16|32|64|ptr)_t\b/ },
];

/** The standard headers that a file reaches through headers of ours; `changed` stands for texts that are not on disk. */
function headersOf(file: string, changed: ReadonlyMap<string, string>, seen = new Set<string>()): string[] {
  if (seen.has(file) || !existsSync(join(root, file))) return [];
  seen.add(file);
  const text = textOf(file, changed);
  const included = (pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]!);
  return [
    ...included(/^#include <(.*)>/gm),
    ...included(/^#include "(.*)"/gm).flatMap((name) => headersOf(join(dirname(file), name), changed, seen)),
  ];
}

function textOf(file: string, changed: ReadonlyMap<string, string>): string {
  return changed.get(file) ?? readFileSync(join(root, file), 'utf8');
}

/** `std::find needs <algorithm>` for everything that a file uses without including it. */
function missing(file: string, changed: ReadonlyMap<string, string> = new Map()): string[] {
  const code = textOf(file, changed).replace(/\/\*[\s\S]*?\*\/|\/\/.*$|"(?:[^"\\\n]|\\.)*"/gm, '');
  const headers = new Set(headersOf(file, changed));
  return users.flatMap(({ header, pattern }) => {
    const use = pattern.exec(code)?.[0];
    return use === undefined || headers.has(header) ? [] : [`${use} needs <${header}>`];
  });
}

describe('standard headers', () => {
  it('are looked for in all native sources', () => expect(sources.length).toBeGreaterThan(70));

  it.each(sources)('%s includes what it uses', (file) => expect(missing(file)).toEqual([]));

  // The first is what GCC 14 found.
  it.each([
    ['cuda/cudnn/plans.cc', 'algorithm', 'std::find needs <algorithm>'],
    ['native/executor.h', 'memory', 'std::unique_ptr needs <memory>'],
    ['native/error.h', 'string', 'std::string needs <string>'],
    ['cuda/gpu.h', 'cstdint', 'uint16_t needs <cstdint>'],
  ])('planted: %s without <%s>', (file, header, sentence) => {
    const text = readFileSync(join(root, file), 'utf8');
    const without = text.replace(`#include <${header}>\n`, '');
    expect(without).not.toBe(text);
    expect(missing(file, new Map([[file, without]]))).toContain(sentence);
  });

  it.each([
    [
      'std::move(begin, end, out);',
      ['std::move(begin, end, out) needs <algorithm>', 'std::move needs <utility>'],
    ],
    ['numbers.erase(first); sort(); // std::sort', []],
    ['throw Error("std::sort of std::string");', []],
    ['const int least = std::numeric_limits<int>::min();', ['std::numeric_limits needs <limits>']],
  ])('of `%s`', (line, sentences) => {
    expect(missing('planted.cc', new Map([['planted.cc', line]])).toSorted()).toEqual(sentences.toSorted());
  });
});

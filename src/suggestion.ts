// Suggests the known word that a misspelt one was meant to be.

/**
 * Finds the candidate with the smallest edit distance to `word`, ignoring case. Returns undefined if that
 * distance is more than 2 and more than a third of the word.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/**
 * Returns `, did you mean 'x'?` for the candidate nearest to `word`, written after `prefix`, or an empty text if none is
 * near.
 */
export function didYouMean(word: string, candidates: readonly string[], prefix = ''): string {
  const best = nearest(word, candidates);
  return best === undefined ? '' : `, did you mean '${prefix}${best}'?`;
}

/** Returns ` (did you mean 'x'?)` for the candidate nearest to `word`, or an empty text if none is near. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const best = nearest(word.slice(0, 40), candidates);
  return best === undefined ? '' : ` (did you mean '${best}'?)`;
}

/** Computes the Levenshtein distance, one row of its table at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substitution));
    }
    row = next;
  }
  return row[b.length]!;
}

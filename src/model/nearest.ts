/** Which known word somebody may have meant: the one with the fewest letters to add, drop or change, whatever their case. */

/** The candidate with the smallest edit distance; the first of equals. `candidates` is not empty. */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = '';
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(word.slice(0, WORD_LENGTH_MAX).toLowerCase(), candidate.toLowerCase());
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** What was typed may have any length; no known word is longer than this. */
const WORD_LENGTH_MAX = 128;

/** Levenshtein's distance by the usual table, of which only one row is kept. */
function editDistance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0]!;
    row[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      const change = diagonal + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(change, above + 1, row[j - 1]! + 1);
      diagonal = above;
    }
  }
  return row[b.length]!;
}

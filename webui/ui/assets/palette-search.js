// How the palette finds: what matches the words typed, and in which order. Draws nothing and knows no page.

const BEGINS = 0;
const INSIDE = 1;
const IN_ORDER = 2;
const LETTER = /[\p{L}\p{N}\p{M}]/u;

/** Small letters; Korean syllables as their letters, so that half a syllable is found while it is typed. */
export const plain = (text) => text.normalize("NFKD").toLowerCase();

/** 0: `typed` begins a word of `text`; 1: it is inside one; 2: its letters are there in order; null: they are not. */
export function rank(typed, text) {
  if (!text.includes(typed)) return hasInOrder(typed, text) ? IN_ORDER : null;
  for (let at = text.indexOf(typed); at >= 0; at = text.indexOf(typed, at + 1)) {
    if (at === 0 || !LETTER.test(text[at - 1])) return BEGINS;
  }
  return INSIDE;
}

function hasInOrder(typed, text) {
  let at = 0;
  for (const letter of typed) {
    at = text.indexOf(letter, at) + 1;
    if (!at) return false;
  }
  return true;
}

/**
 * Entries in which every word of `query` is found, best first. An entry has `id`, `names` (what it is called, best
 * first, made `plain`), `around` (where it is, made `plain`) and `isNear`. How well the words are found comes first, then
 * which name they are found in, then what was chosen lately (`recent`: ids, last first), then what is near, then the order
 * given.
 */
export function search(entries, query, recent) {
  const words = plain(query).split(/\s+/).filter(Boolean);
  const age = new Map(recent.map((id, i) => [id, i]));
  const found = entries.map((entry) => ({ entry, score: score(entry, words), age: age.get(entry.id) ?? recent.length }));
  return found
    .filter((each) => each.score !== null)
    .sort((a, b) => a.score - b.score || a.age - b.age || b.entry.isNear - a.entry.isNear)
    .map(({ entry }) => entry);
}

const NAMES = 10;  // more than an entry has, so that how well always counts before where

function score({ names, around }, words) {
  let sum = 0;
  for (const word of words) {
    const best = Math.min(...names.map((name, i) => weighed(rank(word, name), i)), weighed(rankOfPlace(word, around), names.length));
    if (best === Infinity) return null;
    sum += best;
  }
  return sum;
}

const weighed = (found, i) => (found === null ? Infinity : found * NAMES + i);

/** A place helps to tell equals apart; letters strewn over it say nothing. */
function rankOfPlace(word, around) {
  const found = rank(word, around);
  return found === IN_ORDER ? null : found;
}

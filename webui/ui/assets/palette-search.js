// How the palette finds: what matches the words typed, and in which order. Draws nothing and knows no page.

const BEGINS = 0;
const BEGINS_WORD = 1;
const INSIDE = 2;
const IN_ORDER = 3;
const LETTER = /[\p{L}\p{N}\p{M}]/u;

/** Small letters; Korean syllables as their letters, so that half a syllable is found while it is typed. */
export const plain = (text) => text.normalize("NFKD").toLowerCase();

/** 0: `text` begins with `typed`; 1: a word of it does; 2: it is inside a word; 3: its letters come in order after the
    beginning of a word; null: they do not. */
export function rank(typed, text) {
  const begins = (at) => at === 0 || !LETTER.test(text[at - 1]);
  if (text.startsWith(typed)) return BEGINS;
  if (places(typed, text).some(begins)) return BEGINS_WORD;
  if (text.includes(typed)) return INSIDE;
  return places(typed[0], text).some((at) => begins(at) && hasInOrder(typed, text, at)) ? IN_ORDER : null;
}

function places(typed, text) {
  const found = [];
  for (let at = text.indexOf(typed); at >= 0; at = text.indexOf(typed, at + 1)) found.push(at);
  return found;
}

function hasInOrder(typed, text, from) {
  let at = from;
  for (const letter of typed) {
    at = text.indexOf(letter, at) + 1;
    if (!at) return false;
  }
  return true;
}

/**
 * Entries in which every word of `query` is found, best first. An entry has `id`, `names` (what it is called, best
 * first, made `plain`), `around` (where it is and its id, made `plain`) and `isNear`. How well the words are found comes first, then
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
  const found = rank(word, around) ?? IN_ORDER;
  return found === IN_ORDER ? null : Math.max(found, BEGINS_WORD);
}

// Keys inside a prompt: Ctrl+Up and Ctrl+Down weigh what is selected or stands at the cursor, Alt+Left and Alt+Right
// move the phrase between commas (the list is in keys.js). Changes go through the browser's own editing, so Ctrl+Z takes
// them back.

import { meaning } from "./keys.js";
import { option } from "./options.js";

const DELIMITERS = /[\s.,\\/!?%^*;:{}=`~()[\]<>|]/;
const WEIGHTED = /^\((.*):(-?\d*\.?\d+)\)$/s;

/** Listen in every prompt of the page. */
export function listenInPrompts() {
  document.addEventListener("keydown", onKey, { capture: true });
}

function onKey(event) {
  const area = event.target;
  if (!(area instanceof HTMLTextAreaElement) || !area.closest(".easel-prompts")) return;
  const edit = EDITS[meaning("prompt", event)];
  const change = edit?.(area.value, area.selectionStart, area.selectionEnd);
  if (!edit) return;
  event.preventDefault();
  event.stopPropagation();
  if (change) apply(area, change);
}

const EDITS = {
  heavier: (...at) => weigh(...at, 1),
  lighter: (...at) => weigh(...at, -1),
  earlier: (...at) => movePhrase(...at, -1),
  later: (...at) => movePhrase(...at, 1),
};

/** {from, to, text, start, end}: `text` for [from, to), and what is selected afterwards. null: nothing to weigh. */
export function weigh(value, start, end, direction) {
  const tag = around(value, start, end, "<", ">");
  if (tag && value.slice(tag.from, tag.to).includes(":")) return weighTag(value, tag, start, end, direction);
  const chosen = trimmed(value, start, end);
  const isGroup = chosen && WEIGHTED.test(value.slice(chosen.from, chosen.to));
  const group = isGroup ? chosen : around(value, start, end, "(", ")");
  const found = group && WEIGHTED.exec(value.slice(group.from, group.to));
  if (found) return weighted(found[1], group, Number(found[2]) + direction * step());
  const word = start === end ? wordAt(value, start) : chosen;
  return word && weighted(value.slice(word.from, word.to), word, 1 + direction * step());
}

function weighted(inner, { from, to }, weight) {
  const number = rounded(weight);
  if (number === "1") return { from, to, text: inner, start: from, end: from + inner.length };
  return { from, to, text: `(${inner}:${number})`, start: from + 1, end: from + 1 + inner.length };
}

/** <kind:name> or <kind:name:weight>. With named weights (te=…, unet=…) nothing changes: which is meant is a guess. */
function weighTag(value, { from, to }, start, end, direction) {
  const [kind, name, said = "1", ...rest] = value.slice(from + 1, to - 1).split(":");
  if (Number.isNaN(Number(said))) return null;
  const text = `<${[kind, name, rounded(Number(said) + direction * (option("tag_weight_step") ?? 0.05)), ...rest].join(":")}>`;
  return { from, to, text, start: Math.min(start, from + text.length), end: Math.min(end, from + text.length) };
}

const step = () => option("weight_step") ?? 0.1;

const rounded = (weight) => String(Number(weight.toFixed(4)));

/** The innermost pair of brackets that encloses [start, end), brackets included, or null. */
function around(value, start, end, open, close) {
  let depth = 0;
  let from = -1;
  for (let i = start - 1; i >= 0 && from < 0; i -= 1) {
    if (value[i - 1] === "\\") continue;
    if (value[i] === close) depth += 1;
    else if (value[i] === open) depth ? (depth -= 1) : (from = i);
  }
  if (from < 0) return null;
  depth = 0;
  for (let i = end; i < value.length; i += 1) {
    if (value[i - 1] === "\\") continue;
    if (value[i] === open) depth += 1;
    else if (value[i] === close) {
      if (!depth) return { from, to: i + 1 };
      depth -= 1;
    }
  }
  return null;
}

function wordAt(value, at) {
  let [from, to] = [at, at];
  while (from > 0 && !DELIMITERS.test(value[from - 1])) from -= 1;
  while (to < value.length && !DELIMITERS.test(value[to])) to += 1;
  return from < to ? { from, to } : null;
}

function trimmed(value, start, end) {
  const chosen = value.slice(start, end);
  const from = start + chosen.length - chosen.trimStart().length;
  const to = from + chosen.trim().length;
  return from < to ? { from, to } : null;
}

/** Swap the phrase at the cursor with its neighbour; spaces stay where they are. */
export function movePhrase(value, start, end, direction) {
  const phrases = value.split(",");
  let from = 0;
  const index = phrases.findIndex((phrase) => {
    if (start <= from + phrase.length) return true;
    from += phrase.length + 1;
    return false;
  });
  const other = index + direction;
  if (other < 0 || other >= phrases.length) return null;
  const [mine, its] = [phrases[index].trim(), phrases[other].trim()];
  const into = start - from - (phrases[index].length - phrases[index].trimStart().length);
  const put = (phrase, text) => phrase.replace(phrase.trim() || /$/, () => text);
  [phrases[index], phrases[other]] = [put(phrases[index], its), put(phrases[other], mine)];
  const before = phrases.slice(0, other).reduce((length, phrase) => length + phrase.length + 1, 0);
  const begin = before + phrases[other].length - phrases[other].trimStart().length;
  const at = begin + Math.max(0, Math.min(into, mine.length));
  return { from: 0, to: value.length, text: phrases.join(","), start: at, end: at + Math.min(end - start, mine.length) };
}

function apply(area, { from, to, text, start, end }) {
  area.setSelectionRange(from, to);
  // Deprecated, and still the only way of editing that the browser can undo.
  if (!document.execCommand("insertText", false, text)) area.setRangeText(text, from, to, "end");
  area.setSelectionRange(start, end);
}

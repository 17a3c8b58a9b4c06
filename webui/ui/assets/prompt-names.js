// Names while one types: after __ in a prompt those of the wildcards that fit, to be taken with Tab, Enter or a click.

import { h } from "./dom.js";
import { getWildcards, ServerError } from "./server.js";

const MOST = 12;
const ASK_AGAIN = 10_000;  // ms
const BEGUN = /(?<![\\\w])__([\p{L}\p{N}][\p{L}\p{N}_/-]*)?$/u;

const state = { area: null, begun: "", names: [], chosen: 0, asked: -Infinity, known: [] };
const list = h("ul", { class: "easel-names", role: "listbox", hidden: true });

/** Offer names in every prompt of the page. */
export function offerNames() {
  document.addEventListener("input", ({ target }) => void follow(target), { capture: true });
  document.addEventListener("keydown", onKey, { capture: true });
  document.addEventListener("focusout", ({ target }) => target === state.area && hide(), { capture: true });
}

/** What is being typed after __, or null where no wildcard has been begun. A closed one begins none. */
export function begunName(text) {
  const found = BEGUN.exec(text);
  if (!found) return null;
  const before = text.slice(0, found.index).match(/__/g)?.length ?? 0;
  return before % 2 ? null : (found[1] ?? "");
}

/** The names that fit, those that begin so first. */
export function fittingNames(names, begun) {
  const wanted = begun.toLowerCase();
  const found = names.filter((name) => name.toLowerCase().includes(wanted) && name !== begun);
  const begins = (name) => name.toLowerCase().startsWith(wanted);
  return [...found.filter(begins), ...found.filter((name) => !begins(name))].slice(0, MOST);
}

async function follow(area) {
  if (!(area instanceof HTMLTextAreaElement) || !area.closest(".easel-prompts") || area.closest("form")) return;
  const begun = begunName(area.value.slice(0, area.selectionStart));
  if (begun === null) return hide();
  const known = await wildcards();
  if (begunName(area.value.slice(0, area.selectionStart)) !== begun) return;  // more was typed meanwhile
  Object.assign(state, { area, begun, chosen: 0, names: fittingNames(known, begun) });
  draw();
}

async function wildcards() {
  if (performance.now() - state.asked < ASK_AGAIN) return state.known;
  try {
    state.known = (await getWildcards()).wildcards;
    state.asked = performance.now();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
  }
  return state.known;
}

function draw() {
  if (!state.names.length) return hide();
  const rows = state.names.map((name, i) =>
    h("li", { role: "option", "aria-selected": String(i === state.chosen), onmousedown: (event) => take(event, name) }, name));
  list.replaceChildren(...rows);
  list.hidden = false;
  const place = state.area.closest(".block") ?? state.area.parentElement;
  if (list.parentElement !== place) place.append(list);
  rows[state.chosen].scrollIntoView({ block: "nearest" });
}

function hide() {
  list.hidden = true;
  state.area = null;
}

const MOVES = { ArrowDown: 1, ArrowUp: -1 };

function onKey(event) {
  if (event.target !== state.area || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (event.key in MOVES) {
    state.chosen = (state.chosen + MOVES[event.key] + state.names.length) % state.names.length;
    draw();
  } else if (event.key === "Escape") hide();
  else if (event.key === "Tab" || event.key === "Enter") return take(event, state.names[state.chosen]);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function take(event, name) {
  event.preventDefault();
  event.stopPropagation();
  const { area, begun } = state;
  area.setSelectionRange(area.selectionStart - begun.length, area.selectionStart);
  hide();
  // As in prompt-keys.js: the browser can undo it.
  if (!document.execCommand("insertText", false, `${name}__`)) area.setRangeText(`${name}__`, area.selectionStart, area.selectionEnd, "end");
}

// All keys of the page in one list: whoever listens asks here what a key means, and the sheet of keys shows the same.

import { hasWord, t } from "./words.js";

/** Place -> action -> the key combinations that mean it. "Ctrl" is also Cmd. */
export const KEYS = {
  page: { generate: ["Ctrl+Enter"], interrupt: ["Escape"], skip: ["Alt+Enter"], palette: ["Ctrl+K"], keys: ["?", "F1"], undo: ["Ctrl+Z"], redo: ["Ctrl+Y", "Ctrl+Shift+Z"] },
  prompt: { heavier: ["Ctrl+ArrowUp"], lighter: ["Ctrl+ArrowDown"], earlier: ["Alt+ArrowLeft"], later: ["Alt+ArrowRight"] },
  // Some of them as in AUTOMATIC1111's canvas, some as everywhere.
  canvas: {
    brush: ["B"], eraser: ["E"], box: ["M"], lasso: ["L"], flood: ["G"], pick: ["I"], hand: ["H"],
    left: ["ArrowLeft"], right: ["ArrowRight"], up: ["ArrowUp"], down: ["ArrowDown"],
    smaller: ["[", "Q"], larger: ["]", "W"], in: ["+", "="], out: ["-"], fit: ["R"], fullscreen: ["S"],
    undo: ["Ctrl+Z"], redo: ["Ctrl+Y", "Ctrl+Shift+Z"], invert: ["X"], clear: ["Delete"], show: ["O"],
  },
  gallery: {
    open: ["Enter"], toggle: ["Space"], range: ["Shift+Space"], all: ["Ctrl+A"], none: ["Escape"],
    star: ["S"], remove: ["Delete"], search: ["/"],
  },
  strip: { earlier: ["ArrowLeft"], later: ["ArrowRight"], first: ["Home"], last: ["End", "Escape"], branch: ["B"] },
  compare: {
    slider: ["1"], blink: ["2"], difference: ["3"], left: ["ArrowLeft"], right: ["ArrowRight"], turn: ["Space"],
    swap: ["X"], in: ["+", "="], out: ["-"], fit: ["R"],
  },
  light: { previous: ["ArrowLeft"], next: ["ArrowRight"], star: ["S"], remove: ["Delete"] },
};

/** Actions for which the page has words already, and those that share the words of another. */
const WORDS = {
  "page.generate": "generate", "page.interrupt": "action.cancel", "page.skip": "action.skip",
  "page.palette": "palette.title", "page.keys": "keys.title",
  "canvas.left": "canvas.hand", "canvas.right": "canvas.hand", "canvas.up": "canvas.hand", "canvas.down": "canvas.hand",
  "strip.branch": "branch.here", "compare.left": "compare.handle", "compare.right": "compare.handle",
  "compare.in": "keys.canvas.in", "compare.out": "keys.canvas.out", "compare.fit": "canvas.fit",
  "gallery.search": "pictures.search", "gallery.star": "light.star", "gallery.remove": "pictures.delete", "light.remove": "pictures.delete",
};

const SHOWN = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Name of the action of a place that a key event means, or null. */
export function meaning(place, event) {
  if (event.isComposing) return null;  // Enter that ends a Korean syllable is not a command
  const actions = Object.entries(KEYS[place]);
  return actions.find(([, combinations]) => combinations.some((each) => isPressed(each, event)))?.[0] ?? null;
}

function isPressed(combination, event) {
  const parts = combination.length > 1 ? combination.split("+") : [combination];
  const key = parts.at(-1);
  const has = (name) => parts.slice(0, -1).includes(name);
  if (keyOf(event) !== key.toLowerCase()) return false;
  if (has("Ctrl") !== (event.ctrlKey || event.metaKey) || has("Alt") !== event.altKey) return false;
  return has("Shift") === event.shiftKey || isSign(key);
}

/** "?" and "+" need Shift on some keyboards and not on others. */
const isSign = (key) => key.length === 1 && !/[a-z0-9]/i.test(key);

/** Letters by their place where the keyboard writes others than Latin ones, as a Korean one does. */
function keyOf({ key, code }) {
  if (key === " ") return "space";
  return (key.length === 1 && key > "~" && code.startsWith("Key") ? code.slice("Key".length) : key).toLowerCase();
}

/** A combination as it is shown, e.g. "Ctrl+↑". */
export const spelled = (combination) =>
  combination.length === 1 ? combination : combination.split("+").map((part) => shown(part)).join("+");

const shown = (part) => (part === "Ctrl" && isMac ? "⌘" : SHOWN[part] ?? part);

/** [{title, rows: [{words, combinations}]}]: everything there is, actions that are called the same in one row. */
export function described() {
  return Object.entries(KEYS).map(([place, actions]) => {
    const rows = new Map();
    for (const [name, combinations] of Object.entries(actions)) {
      const words = wordsOf(place, name);
      rows.set(words, [...(rows.get(words) ?? []), ...combinations.map(spelled)]);
    }
    return { title: t(`keys.${place}`), rows: [...rows].map(([words, combinations]) => ({ words, combinations })) };
  });
}

function wordsOf(place, name) {
  const own = `keys.${place}.${name}`;
  return t(WORDS[`${place}.${name}`] ?? (hasWord(own) ? own : `${place}.${name}`));
}

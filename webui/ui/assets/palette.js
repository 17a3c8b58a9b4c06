// Ctrl+K: one box that finds every control, action and checkpoint of the page; "?": the sheet of all keys.
// What there is to find is palette-entries.js, how it is found palette-search.js.

import { h, renewed, setText } from "./dom.js";
import { described, meaning } from "./keys.js";
import { entries } from "./palette-entries.js";
import { search } from "./palette-search.js";
import { browser } from "./storage.js";
import { t } from "./words.js";

const RECENT = "palette.recent";
const RECENT_KEPT = 12;
const MOST_SHOWN = 60;
const PAGE = 8;
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
/** Where a question mark is text. */
const TYPED_IN = "textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])";

/** Listen for the keys and for the button in the bar. */
export function listenToPalette() {
  const palette = new Palette();
  document.addEventListener("easel-palette", () => palette.toggle());
  document.addEventListener(
    "keydown",
    (event) => {
      const name = meaning("page", event);
      const isText = event.key === "?" && event.target.closest?.(TYPED_IN);
      if (!["palette", "keys"].includes(name) || isText) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat) return;
      if (name === "palette") palette.toggle();
      else showKeys();
    },
    { capture: true },
  );
}

class Palette {
  #entries = [];
  #found = [];
  #at = 0;

  constructor() {
    this.input = h("input", {
      type: "text", id: "easel_palette_search", class: "easel-input", autocomplete: "off", spellcheck: "false",
      role: "combobox", "aria-autocomplete": "list", "aria-expanded": "true", "aria-controls": "easel_palette_list", "aria-label": t("palette.title"), placeholder: t("palette.placeholder"),
      oninput: () => this.#search(), onkeydown: (event) => this.#key(event),
    });
    this.list = h("div", { id: "easel_palette_list", class: "easel-palette-list", role: "listbox", "aria-label": t("palette.title") });
    this.note = h("p", { class: "easel-palette-note", role: "status" });
    const close = h("button", { type: "button", class: "easel-button", onclick: () => this.dialog.close() }, t("action.close"));
    this.dialog = dialog("easel_palette", t("palette.title"), h("div", { class: "easel-palette-head" }, this.input, close), this.list, this.note);
    // A press must not take the focus from the box.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", ({ target }) => this.#choose(this.#found[indexOf(target)]));
    this.list.addEventListener("mousemove", ({ target }) => indexOf(target) >= 0 && this.#move(indexOf(target), false));
  }

  toggle() {
    if (this.dialog.open) return this.dialog.close();
    this.#entries = entries({ showKeys });
    this.input.value = "";
    show(this.dialog);
    this.input.focus();
    this.#search();
  }

  #search() {
    const all = search(this.#entries, this.input.value, recent());
    this.#found = all.slice(0, MOST_SHOWN);
    renewed(this.list, this.#found.map(({ id, state, isPossible }) => [id, state, isPossible]), () => this.#found.map(option));
    const more = all.length - this.#found.length;
    setText(this.note, all.length ? (more ? t("palette.more", { n: more.toLocaleString() }) : "") : t("palette.nothing"));
    this.#move(0);
  }

  #move(to, follow = true) {
    this.list.children[this.#at]?.setAttribute("aria-selected", "false");
    this.#at = Math.max(0, Math.min(to, this.#found.length - 1));
    const option = this.list.children[this.#at];
    option?.setAttribute("aria-selected", "true");
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
    if (follow) option?.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    if (event.isComposing) return;  // Enter that ends a Korean syllable
    if (event.key in STEPS) this.#move(this.#at + STEPS[event.key]);
    else if (event.key === "Enter") this.#choose(this.#found[this.#at]);
    else return;
    event.preventDefault();
  }

  #choose(chosen) {
    if (!chosen?.isPossible) return;
    browser.set(RECENT, [chosen.id, ...recent().filter((id) => id !== chosen.id)].slice(0, RECENT_KEPT));
    this.dialog.close();
    chosen.run();
  }
}

function recent() {
  const ids = browser.get(RECENT);
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
}

const indexOf = (target) => Number(target.closest("[role=option]")?.dataset.index ?? -1);

function option({ title, english, place, keys, state, isPossible }, index) {
  const attributes = { role: "option", id: `easel_palette_${index}`, "data-index": index, class: "easel-palette-option" };
  return h(
    "div",
    { ...attributes, "aria-selected": "false", "aria-disabled": isPossible ? null : "true" },
    h("span", { class: "easel-palette-title" }, title),
    english && h("span", { class: "easel-palette-english", lang: "en" }, english),
    h("span", { class: "easel-palette-place" }, place),
    state && h("span", { class: `easel-palette-state easel-palette-${state}` }, t(`palette.${state}`)),
    keys && h("kbd", {}, keys),
  );
}

/** Every key of the page, by where it works. */
function showKeys() {
  const existing = document.getElementById("easel_keys");
  if (existing?.open) return existing.close();
  const close = h("button", { type: "button", class: "easel-button", autofocus: true, onclick: () => sheet.close() }, t("action.close"));
  const head = h("div", { class: "easel-palette-head" }, h("h2", {}, t("keys.title")), close);
  const sheet = existing ?? dialog("easel_keys", t("keys.title"), head, h("div", { class: "easel-keys-sheet", tabindex: "0" }, ...described().map(section)));
  show(sheet);
}

function section({ title, rows }) {
  const row = ({ words, combinations }) => h("div", {}, h("dt", {}, words), h("dd", {}, ...combinations.map((keys) => h("kbd", {}, keys))));
  return h("section", {}, h("h3", {}, title), h("dl", {}, ...rows.map(row)));
}

function dialog(id, label, ...children) {
  const press = ({ target }) => target === made && made.close();  // beside it
  const made = h("dialog", { id, class: "easel-palette", "aria-label": label, onclick: press }, ...children);
  return made;
}

/** The styles hold inside Gradio's container only, which is there later than this script. */
function show(made) {
  if (!made.isConnected) document.querySelector(".gradio-container").append(made);
  made.showModal();
}

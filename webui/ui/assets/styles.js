// Styles: named texts that the server puts around the prompts. Which ones a form uses is kept here, not in Gradio.

import { h, isSure, renewed, setText } from "./dom.js";
import { applyStyles, deleteStyle, getStyles, saveStyle, ServerError } from "./server.js";
import { browser, tab } from "./storage.js";
import { sentence, t } from "./words.js";

const MOST_SHOWN = 100;
const PROMPTS = { prompt: "prompt", negative_prompt: "neg_prompt" };

/** Names of the styles that a form uses, in the order in which they were chosen. */
export function chosenStyles(kind) {
  const names = tab.get(`styles.${kind}`) ?? browser.get(`styles.${kind}`);
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
}

export function chooseStyles(kind, names) {
  for (const storage of [tab, browser]) storage.set(`styles.${kind}`, names);
  document.dispatchEvent(new CustomEvent("easel-styles", { detail: { kind } }));
}

export const define = () => customElements.define("easel-styles", Styles);

/** <easel-styles kind="txt2img">: what is chosen, and a list to choose from, to add to and to delete from. */
class Styles extends HTMLElement {
  #styles = [];
  #problem = "";
  #isOpen = false;

  connectedCallback() {
    if (this.isConnected && this.childElementCount) return;
    this.#build();
    document.addEventListener("easel-styles", ({ detail }) => detail.kind === this.#kind && this.#draw());
    this.#draw();
  }

  get #kind() {
    return this.getAttribute("kind");
  }

  #build() {
    this.toggle = h("button", { type: "button", class: "easel-button", "aria-expanded": "false", onclick: () => this.#open(!this.#isOpen) });
    this.chips = h("span", { class: "easel-chips" });
    this.search = h("input", {
      type: "search", class: "easel-input", placeholder: t("styles.search"), "aria-label": t("styles.search"), oninput: () => this.#drawList(),
    });
    this.list = h("ul", { class: "easel-style-list" });
    this.note = h("p", { class: "easel-style-note", role: "status" });
    this.name = h("input", { class: "easel-input", maxlength: 200, placeholder: t("styles.name"), "aria-label": t("styles.name") });
    const save = h("button", { type: "submit", class: "easel-button" }, t("styles.save"));
    const form = h("form", { class: "easel-style-save", onsubmit: (event) => this.#save(event) }, this.name, save);
    this.put = h("button", { type: "button", class: "easel-button", onclick: () => void this.#putIn() }, t("styles.put_in"));
    this.panel = h("div", { class: "easel-style-panel", "data-keeps-escape": true, hidden: true }, this.search, this.list, this.note, form, this.put);
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#open(false);
      this.toggle.focus();
    });
    this.append(h("div", { class: "easel-style-row" }, this.toggle, this.chips), this.panel);
  }

  #open(isOpen) {
    this.#isOpen = isOpen;
    this.panel.hidden = !isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.search.focus();
    void this.#take(getStyles());
  }

  /** Show what the server answers; a refusal is told under the list. */
  async #take(answer) {
    try {
      const { styles, warning } = await answer;
      this.#styles = styles;
      this.#problem = warning ? sentence(warning) : "";
      const known = new Set(styles.map(({ name }) => name));
      const chosen = chosenStyles(this.#kind);
      if (!warning && chosen.some((name) => !known.has(name))) chooseStyles(this.#kind, chosen.filter((name) => known.has(name)));
      return true;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#problem = error.told ? sentence(error.told) : t("styles.unreachable");
      return false;
    } finally {
      this.#drawList();
    }
  }

  #draw() {
    const chosen = chosenStyles(this.#kind);
    setText(this.toggle, chosen.length ? t("styles.chosen", { count: chosen.length }) : t("styles.title"));
    this.put.disabled = !chosen.length;
    renewed(this.chips, chosen, () => chosen.map((name) => this.#chip(name)));
    this.#drawList();
  }

  #chip(name) {
    const label = t("styles.remove", { name });
    return h("button", { type: "button", class: "easel-chip", title: label, "aria-label": label, onclick: () => this.#flip(name) }, `${name} ✕`);
  }

  #flip(name) {
    const chosen = chosenStyles(this.#kind);
    chooseStyles(this.#kind, chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  }

  #drawList() {
    if (!this.#isOpen) return;
    const wanted = this.search.value.trim().toLowerCase();
    const found = this.#styles.filter((style) => `${style.name}\n${style.prompt}`.toLowerCase().includes(wanted));
    const chosen = new Set(chosenStyles(this.#kind));
    const shown = found.slice(0, MOST_SHOWN);
    renewed(this.list, [shown, [...chosen]], () => shown.map((style) => this.#row(style, chosen.has(style.name))));
    setText(this.note, this.#problem || this.#told(found.length));
  }

  #told(found) {
    if (found > MOST_SHOWN) return t("styles.more", { count: found - MOST_SHOWN });
    if (found) return "";
    return this.#styles.length ? t("styles.none_found") : t("styles.empty");
  }

  #row({ name, prompt, negative_prompt: negative }, isChosen) {
    const says = [prompt, negative && `− ${negative}`].filter(Boolean).join("  ");
    const label = h("span", { class: "easel-style-name" }, name);
    const pick = h(
      "button",
      { type: "button", class: "easel-style", "aria-pressed": String(isChosen), onclick: () => this.#flip(name), title: says },
      label, h("span", { class: "easel-style-says" }, says),
    );
    const remove = h("button", { type: "button", class: "easel-button easel-style-delete" }, t("styles.delete"));
    remove.addEventListener("click", () => {
      if (isSure(remove, t("styles.delete"), t("styles.delete_sure"))) void this.#take(deleteStyle(name));
    });
    return h("li", {}, pick, remove);
  }

  async #save(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    if (await this.#take(saveStyle({ name, ...this.#written() }))) this.name.value = "";
  }

  /** The styles become part of the prompts, to be changed by hand, and are chosen no more. */
  async #putIn() {
    try {
      const prompts = await applyStyles({ ...this.#written(), styles: chosenStyles(this.#kind) });
      document.dispatchEvent(new CustomEvent("easel-put", { detail: { kind: this.#kind, values: prompts } }));
      chooseStyles(this.#kind, []);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      setText(this.note, error.told ? sentence(error.told) : t("styles.unreachable"));
    }
  }

  #written() {
    const text = (id) => document.querySelector(`#${this.#kind}_${id} textarea`)?.value ?? "";
    return Object.fromEntries(Object.entries(PROMPTS).map(([name, id]) => [name, text(id)]));
  }
}

// Wildcards: the files behind __name__, to put into the prompt, to change and to delete; and what the prompts would say.

import { h, isSure, renewed, setText } from "./dom.js";
import { deleteWildcard, getWildcard, getWildcards, rollPrompts, saveWildcard, ServerError } from "./server.js";
import { chosenStyles } from "./styles.js";
import { sentence, t } from "./words.js";

const MOST_SHOWN = 200;
const ROLLED = 5;
const SEEDS = 2 ** 32;
const PROMPTS = { prompt: "prompt", negative_prompt: "neg_prompt" };

export const define = () => customElements.define("easel-wildcards", Wildcards);

/** <easel-wildcards kind="txt2img">: a list to choose from, an editor for one file, and rolls of the prompts. */
class Wildcards extends HTMLElement {
  #names = [];
  #problem = "";
  #target = null;

  connectedCallback() {
    if (this.childElementCount) return;
    this.#build();
    // The list goes into the prompt that was written in last.
    document.addEventListener("focusin", ({ target }) => this.#areas().includes(target) && (this.#target = target));
  }

  get #kind() {
    return this.getAttribute("kind");
  }

  #build() {
    const button = (label, onclick, type = "button") => h("button", { type, class: "easel-button", onclick }, label);
    this.toggle = h("button", { type: "button", class: "easel-button", "aria-expanded": "false", onclick: () => this.#open(this.panel.hidden) }, t("wildcards.title"));
    this.search = h("input", {
      type: "search", class: "easel-input", placeholder: t("wildcards.search"), "aria-label": t("wildcards.search"), oninput: () => this.#drawList(),
    });
    this.list = h("ul", { class: "easel-style-list" });
    this.note = h("p", { class: "easel-style-note", role: "status" });
    this.rolls = h("ul", { class: "easel-rolls" });
    const roll = button(t("wildcards.roll"), () => void this.#roll());
    roll.title = t("wildcards.roll_title");
    const fresh = button(t("wildcards.new"), () => this.#edit("", ""));
    this.panel = h(
      "div", { class: "easel-style-panel", "data-keeps-escape": true, hidden: true },
      this.search, this.list, this.note, this.#editor(button), h("div", { class: "easel-style-row" }, fresh, roll), this.rolls,
    );
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#open(false);
      this.toggle.focus();
    });
    this.append(h("div", { class: "easel-style-row" }, this.toggle), this.panel);
  }

  #editor(button) {
    this.name = h("input", { class: "easel-input", maxlength: 200, placeholder: t("wildcards.name"), "aria-label": t("wildcards.name") });
    this.text = h("textarea", { class: "easel-input", rows: 8, placeholder: t("wildcards.text"), "aria-label": t("wildcards.text") });
    const buttons = h("div", { class: "easel-style-row" }, button(t("wildcards.save"), null, "submit"), button(t("wildcards.cancel"), () => (this.editor.hidden = true)));
    this.editor = h("form", { class: "easel-wildcard-editor", hidden: true, onsubmit: (event) => this.#save(event) }, this.name, this.text, buttons);
    return this.editor;
  }

  #open(isOpen) {
    this.panel.hidden = !isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.search.focus();
    void this.#take(getWildcards);
  }

  /** What the server answers, or null and the refusal under the list. */
  async #asked(ask) {
    try {
      const answer = await ask();
      this.#problem = "";
      return answer;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#problem = error.told ? sentence(error.told) : t("wildcards.unreachable");
      return null;
    } finally {
      this.#drawList();
    }
  }

  async #take(ask) {
    const answer = await this.#asked(ask);
    if (answer) this.#names = answer.wildcards;
    this.#drawList();
    return Boolean(answer);
  }

  #drawList() {
    const wanted = this.search.value.trim().toLowerCase();
    const found = this.#names.filter((name) => name.toLowerCase().includes(wanted));
    const shown = found.slice(0, MOST_SHOWN);
    renewed(this.list, shown, () => shown.map((name) => this.#row(name)));
    setText(this.note, this.#problem || this.#told(found.length));
  }

  #told(found) {
    if (found > MOST_SHOWN) return t("wildcards.more", { count: found - MOST_SHOWN });
    if (found) return "";
    return this.#names.length ? t("wildcards.none_found") : t("wildcards.empty");
  }

  #row(name) {
    const insert = h("button", { type: "button", class: "easel-style", title: t("wildcards.insert"), onclick: () => this.#insert(name) }, h("span", { class: "easel-style-name" }, name));
    const edit = h("button", { type: "button", class: "easel-button", onclick: () => void this.#read(name) }, t("wildcards.edit"));
    const remove = h("button", { type: "button", class: "easel-button" }, t("wildcards.delete"));
    remove.addEventListener("click", () => {
      if (isSure(remove, t("wildcards.delete"), t("wildcards.delete_sure"))) void this.#take(() => deleteWildcard(name));
    });
    return h("li", {}, insert, edit, remove);
  }

  async #read(name) {
    const answer = await this.#asked(() => getWildcard(name));
    if (answer) this.#edit(name, answer.text);
  }

  #edit(name, text) {
    this.name.value = name;
    this.text.value = text;
    this.editor.hidden = false;
    (name ? this.text : this.name).focus();
  }

  async #save(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    if (await this.#take(() => saveWildcard({ name, text: this.text.value }))) this.editor.hidden = true;
  }

  #areas() {
    return Object.values(PROMPTS).map((id) => document.querySelector(`#${this.#kind}_${id} textarea`));
  }

  /** Where the cursor is, with the browser's own editing, so that Ctrl+Z takes it back. */
  #insert(name) {
    const areas = this.#areas();
    const area = areas.includes(this.#target) ? this.#target : areas[0];
    if (!area) return;
    area.focus();
    if (!document.execCommand("insertText", false, `__${name}__`)) area.setRangeText(`__${name}__`, area.selectionStart, area.selectionEnd, "end");
  }

  async #roll() {
    const texts = Object.fromEntries(Object.keys(PROMPTS).map((name, i) => [name, this.#areas()[i]?.value ?? ""]));
    const seeds = Array.from({ length: ROLLED }, () => Math.floor(Math.random() * SEEDS));
    const answer = await this.#asked(() => rollPrompts({ ...texts, styles: chosenStyles(this.#kind), seeds }));
    if (answer) this.rolls.replaceChildren(...answer.rolled.map((each) => this.#rolled(each)));
  }

  /** A click puts its words into the prompts, to be changed by hand. */
  #rolled({ seed, prompt, negative_prompt: negative }) {
    const says = [prompt, negative && `− ${negative}`].filter(Boolean).join("  ");
    const put = () => document.dispatchEvent(new CustomEvent("easel-put", { detail: { kind: this.#kind, values: { prompt, negative_prompt: negative, seed } } }));
    return h("li", {}, h("button", { type: "button", class: "easel-style", title: t("wildcards.take"), onclick: put }, h("span", { class: "easel-roll-says" }, says)));
  }
}

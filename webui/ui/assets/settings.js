// <easel-settings>: every setting by group, found by words, changed at once. What there is comes from /api/v1/settings.

import { errorCard } from "./cards.js";
import { h, renewed, setText } from "./dom.js";
import { knownCheckpoints } from "./form.js";
import { operatorBox, operatorToken } from "./operator.js";
import { takeOptions } from "./options.js";
import { changeSettings, getSettings, ServerError } from "./server.js";
import { browserSettings } from "./settings-browser.js";
import { editor } from "./settings-editors.js";
import { openTab, whenThere } from "./tabs.js";
import { hasWord, inEnglish, sentence, t } from "./words.js";

const SAVED_FOR = 2500;

class EaselSettings extends HTMLElement {
  #answer = null;
  #refusals = new Map();  // name -> {tried, text}: what was refused, and why
  #error = null;

  #view = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && void this.#load());
  #reload = () => this.isConnected && this.offsetParent && void this.#load();

  connectedCallback() {
    if (!this.list) this.#build();
    this.#view.observe(this);
    addEventListener("easel-options", this.#reload);
  }

  disconnectedCallback() {
    this.#view.disconnect();
    removeEventListener("easel-options", this.#reload);
  }

  /** Show only what has these words in it. */
  find(words) {
    this.search.value = words;
    this.#filter();
    this.search.focus();
  }

  #build() {
    this.search = h("input", {
      type: "search", class: "easel-input", id: "settings_search", placeholder: t("settings.search"), "aria-label": t("settings.search"),
      oninput: () => this.#filter(),
    });
    this.saved = h("span", { class: "easel-settings-saved", role: "status", "aria-live": "polite" });
    this.notes = h("div", { class: "easel-cards" });
    this.browser = h("div", {});
    this.list = h("div", { class: "easel-settings-list" });
    this.none = h("p", { class: "easel-hint", hidden: true }, t("settings.none"));
    this.replaceChildren(h("div", { class: "easel-settings-bar" }, this.search, this.saved), this.notes, this.browser, this.list, this.none);
    this.browser.append(browserSettings());
  }

  async #load() {
    try {
      this.#take(await getSettings());
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(answer) {
    this.#answer = answer;
    this.#draw();
  }

  #fail(error) {
    if (!(error instanceof ServerError)) throw error;
    this.#error = error;
    this.#draw();
  }

  /** `values` by name; the row of a single one says what is wrong with it. */
  async #change(values) {
    const [name, ...others] = Object.keys(values);
    this.#error = null;
    for (const each of Object.keys(values)) this.#refusals.delete(each);
    try {
      const answer = await changeSettings(values, operatorToken());
      takeOptions(Object.fromEntries(answer.settings.map((setting) => [setting.name, setting.value])));
      this.#take(answer);
      this.#tellSaved();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (others.length || !error.told || error.kind === "NotOperator") this.#error = error;
      else this.#refusals.set(name, { tried: values[name], text: sentence(error.told) });
      this.#draw();
    }
  }

  #tellSaved() {
    setText(this.saved, t("settings.saved"));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => setText(this.saved, ""), SAVED_FOR);
  }

  // What is shown.

  #draw() {
    const { settings = [], warning = null, needs_operator: isExposed = false } = this.#answer ?? {};
    renewed(this.notes, [this.#error?.message, warning, isExposed], () => [
      this.#error && errorCard(this.#error.kind, this.#error.told, { dismiss: () => this.#dismiss() }),
      warning && h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, sentence(warning))),
      isExposed && operatorBox("settings_token"),
    ]);
    const groups = [...new Set(settings.map(({ group }) => group))];
    renewed(this.list, groups, () => groups.map((group) => this.#group(group)));
    for (const setting of settings) this.#row(setting);
    this.#filter();
  }

  #dismiss() {
    this.#error = null;
    this.#draw();
  }

  #group(group) {
    return h("section", { class: "easel-settings-group", id: `settings_${group}` }, h("h2", {}, t(`option_group.${group}`)), h("div", {}));
  }

  #row(setting) {
    const id = `setting_${setting.name}`;
    let row = document.getElementById(`${id}_row`);
    if (!row) {
      row = h("div", { class: "easel-setting", id: `${id}_row` });
      row.easelWords = [setting.name, setting.label, setting.help, ...wordsOf(setting)].join(" ").toLowerCase();
      this.list.querySelector(`#settings_${setting.group} > div`).append(row);
    }
    const refusal = this.#refusals.get(setting.name) ?? null;
    // What is being typed stays; everything else follows the server.
    if (row.contains(document.activeElement) && !refusal && row.easelKey && JSON.stringify(setting.value) === row.easelValue) return;
    row.easelValue = JSON.stringify(setting.value);
    const checkpoints = setting.suggestions === "checkpoints" ? knownCheckpoints().checkpoints : [];
    renewed(row, [setting, refusal, checkpoints.length], () => this.#inside(setting, id, refusal, checkpoints));
  }

  #inside(setting, id, refusal, checkpoints) {
    const words = { label: t(`option.${setting.name}.label`), tokens: this.#answer.tokens };
    const change = (value) => void this.#change({ [setting.name]: value });
    const isDefault = JSON.stringify(setting.value) === JSON.stringify(setting.default);
    const reset = h(
      "button",
      { type: "button", class: "easel-button easel-setting-reset", id: `${id}_reset`, hidden: isDefault, "aria-label": t("settings.reset_one", { name: words.label }), onclick: () => change(setting.default) },
      t("settings.reset"),
    );
    return [
      h("div", { class: "easel-setting-words" }, h("label", { for: id, id: `${id}_label` }, words.label), h("p", { id: `${id}_help` }, t(`option.${setting.name}.help`)), after(setting)),
      h("div", { class: "easel-setting-value" }, editor(refusal ? { ...setting, value: refusal.tried } : setting, id, words, checkpoints, change), reset),
      refusal && h("p", { class: "easel-setting-wrong", role: "alert" }, refusal.text),
    ];
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.querySelectorAll(".easel-setting")) row.hidden = !wanted.every((word) => row.easelWords.includes(word));
    const sections = [...this.querySelectorAll(".easel-settings-group")];
    for (const section of sections) section.hidden = ![...section.querySelectorAll(".easel-setting")].some((row) => !row.hidden);
    this.none.hidden = !this.#answer || sections.some((section) => !section.hidden);
  }
}

/** In the reader's language and in English. */
const wordsOf = ({ name, group }) =>
  [`option.${name}.label`, `option.${name}.help`, `option_group.${group}`].flatMap((key) => [t(key), inEnglish(key)]);

/** When a change holds, where that is not at once. */
const after = ({ name }) => (hasWord(`option.${name}.after`) ? h("p", { class: "easel-setting-after" }, t(`option.${name}.after`)) : null);

/** Open the tab with one setting alone in view. */
export async function showSetting(name) {
  openTab("tab_settings");
  (await whenThere("easel-settings")).find(name);
}

export const define = () => customElements.define("easel-settings", EaselSettings);

// The bar's own elements: name, state of engine and connection, language and colours.

import { h, renewed, setText } from "./dom.js";
import { book, isFinal } from "./jobs.js";
import { KEYS, spelled } from "./keys.js";
import { option } from "./options.js";
import { percent } from "./progress.js";
import { server } from "./server.js";
import { preference } from "./storage.js";
import { hasWord, language, LANGUAGES, sentence, t } from "./words.js";

export const THEMES = ["system", "light", "dark"];
const ICONS = { system: "◐", light: "☀", dark: "☾" };

class EaselBrand extends HTMLElement {
  connectedCallback() {
    const logo = h("img", { src: server("easel/favicon.svg"), alt: "", width: "26", height: "26" });
    this.replaceChildren(logo, h("h1", {}, "Easel"));
  }
}

class EaselStatus extends HTMLElement {
  #redraw = () => this.#update();

  connectedCallback() {
    this.dot = h("span", { class: "easel-dot", "aria-hidden": "true" });
    this.text = h("span", {});
    this.replaceChildren(this.dot, this.text);
    this.setAttribute("role", "status");
    book.addEventListener("change", this.#redraw);
    this.#update();
  }

  disconnectedCallback() {
    book.removeEventListener("change", this.#redraw);
  }

  #update() {
    const { state, text } = this.#state();
    this.dataset.state = state;
    setText(this.text, text);
    this.title = book.status?.engine?.device ?? "";
  }

  #state() {
    if (book.connection === "lost") return { state: "lost", text: t("connection.lost") };
    const { engine, queue } = book.status ?? {};
    if (!engine) return { state: "starting", text: t("connection.connecting") };
    const waiting = queue?.waiting ? ` · ${t("queue.waiting", { n: queue.waiting })}` : "";
    const known = hasWord(`engine.${engine.state}`);
    const words = known ? t(`engine.${engine.state}`) : sentence(engine);
    const reason = engine.state === "dead" && engine.text ? `: ${sentence(engine)}` : "";
    return { state: engine.state, text: words + reason + waiting };
  }
}

/** Gradio reads the language once, at its start; the form survives. */
export function chooseLanguage(code) {
  preference.set("language", code);
  location.reload();
}

/** Of this browser; what is set for every page until somebody chooses. */
export const chosenTheme = () => [preference.get("theme"), option("theme")].find((theme) => THEMES.includes(theme)) ?? "system";

export function chooseTheme(theme) {
  preference.set("theme", theme);
  dispatchEvent(new Event("easel-theme"));
}

/** The palette's way in for a hand or a finger. */
function paletteButton() {
  const words = `${t("palette.title")} (${spelled(KEYS.page.palette[0])})`;
  const open = () => document.dispatchEvent(new Event("easel-palette"));
  return h("button", { type: "button", class: "easel-button easel-palette-button", title: words, "aria-label": words, onclick: open });
}

class EaselPreferences extends HTMLElement {
  #redraw = () => this.#showTheme();

  connectedCallback() {
    this.select = h(
      "select",
      { "aria-label": t("preferences.language"), onchange: () => chooseLanguage(this.select.value) },
      ...LANGUAGES.map((code) => h("option", { value: code, selected: code === language }, t(`language.${code}`))),
    );
    this.button = h("button", { type: "button", class: "easel-button easel-theme", onclick: () => this.#nextTheme() });
    this.replaceChildren(paletteButton(), this.select, this.button);
    addEventListener("easel-theme", this.#redraw);
    this.#showTheme();
  }

  disconnectedCallback() {
    removeEventListener("easel-theme", this.#redraw);
  }

  #nextTheme() {
    chooseTheme(THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length]);
  }

  #showTheme() {
    const theme = chosenTheme();
    const label = t("preferences.theme", { theme: t(`theme.${theme}`) });
    renewed(this.button, theme, () => ICONS[theme]);
    this.button.title = label;
    this.button.setAttribute("aria-label", label);
  }
}

/** The window's title follows the job of this page: "[45%] Easel", "✓ Easel" until the reader has looked. */
export function followInTitle() {
  let worked = false;
  const update = () => {
    const running = [...book.followed, ...book.trainings].find((job) => job.state === "running");
    const waiting = book.followed.some((job) => !isFinal(job) && job.state !== "paused");
    if (!option("title_progress")) document.title = "Easel";
    else if (running) document.title = `[${percent(running)}%] Easel`;
    else if (waiting) document.title = "[…] Easel";
    else document.title = worked && document.hidden ? "✓ Easel" : "Easel";
    worked = worked ? Boolean(running || waiting || document.hidden) : Boolean(running || waiting);
  };
  book.addEventListener("change", update);
  document.addEventListener("visibilitychange", () => document.hidden || update());
}

export function define() {
  customElements.define("easel-brand", EaselBrand);
  customElements.define("easel-status", EaselStatus);
  customElements.define("easel-preferences", EaselPreferences);
}

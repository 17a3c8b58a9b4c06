// Cards of the LoRAs on the server: a click writes the tag into the prompt, or takes it out again.

const root = new URL("../../../", import.meta.url);
const FAMILIES = { sd1: "Stable Diffusion 1", sd2: "Stable Diffusion 2", sdxl: "SDXL", "sdxl-refiner": "SDXL Refiner", sd: "Stable Diffusion (another size)" };

const WORDS = {
  en: {
    search: "Search LoRAs", refresh: "Look again", none: "There are no LoRAs in models/loras.", nothing: "No LoRA is called so.",
    unfit: "Made for {own}; the checkpoint is {other}.", unanswered: "The server does not answer.", words: "Trigger words",
  },
  ko: {
    search: "LoRA 검색", refresh: "다시 찾기", none: "models/loras에 LoRA가 없습니다.", nothing: "그런 이름의 LoRA가 없습니다.",
    unfit: "{own}용입니다. 지금 체크포인트는 {other}입니다.", unanswered: "서버가 응답하지 않습니다.", words: "트리거 단어",
  },
};
const language = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
const t = (key, values = {}) => WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** A new element; text is always text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Everything on the server's shelves, asked for once for all panels. */
let asked = null;
function models(again = false) {
  if (again || asked === null) {
    asked = fetch(new URL("api/v1/models", root), { cache: "no-store" }).then((answer) => {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.json();
    });
    asked.catch(() => (asked = null));
  }
  return asked;
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/** The tags of a LoRA in a prompt, at whatever strength, with the comma before them. */
const tagsOf = (name) => new RegExp(`,?\\s*<(?:lora|lyco):${escaped(name)}(?::[^>]*)?>`, "g");

export function isIn(prompt, name) {
  return tagsOf(name).test(prompt);
}

/** The prompt with the tag at its end, or without it when it is there. */
export function toggled(prompt, name) {
  if (isIn(prompt, name)) return prompt.replace(tagsOf(name), "");
  return `${prompt}${prompt && !/\s$/.test(prompt) ? " " : ""}<lora:${name}:1>`;
}

/** The prompt with a trigger word at its end, once. */
export function withWord(prompt, word) {
  const said = prompt.split(",").map((part) => part.trim());
  if (said.includes(word)) return prompt;
  return prompt.trim() ? `${prompt.replace(/[\s,]+$/, "")}, ${word}` : word;
}

/** Why a LoRA does not fit a checkpoint; "" when it does, or when nobody knows. */
export function misfit(lora, checkpoint) {
  const [own, other] = [lora.family, checkpoint?.family];
  if (!own || !other || own === other || !(own in FAMILIES) || !(other in FAMILIES)) return "";
  return t("unfit", { own: FAMILIES[own], other: FAMILIES[other] });
}

export const isFound = (lora, search) =>
  [lora.name, lora.title, lora.alias, ...(lora.words ?? [])].some((text) => (text ?? "").toLowerCase().includes(search));

class Loras extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.search = h("input", { type: "search", placeholder: t("search"), "aria-label": t("search"), oninput: () => this.draw() });
    const refresh = h("button", { type: "button", class: "easel-button", onclick: () => this.load(true) }, t("refresh"));
    this.list = h("ul", { class: "easel-lora-list" });
    this.append(h("div", { class: "easel-lora-bar" }, this.search, refresh), this.list);
    // The first time that somebody opens the accordion, not before.
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      void this.load();
    }).observe(this);
    document.addEventListener("input", (event) => {
      if (event.target === this.prompt) this.mark();
    });
    // Gradio's dropdown says nothing when another checkpoint is chosen.
    for (const event of ["click", "keyup"]) document.addEventListener(event, () => setTimeout(() => this.follow()));
  }

  /** The form's text area. */
  get prompt() {
    return document.querySelector(`#${CSS.escape(this.getAttribute("prompt"))} textarea`);
  }

  get checkpoint() {
    const chosen = document.querySelector("#setting_sd_model_checkpoint input")?.value;
    return this.models?.checkpoints?.find(({ name, title }) => name === chosen || title === chosen);
  }

  async load(again = false) {
    try {
      if (again) await fetch(new URL("api/v1/checkpoints/refresh", root), { method: "POST" });
      this.models = await models(again);
      this.draw();
    } catch {
      this.list.replaceChildren(h("li", { class: "easel-lora-none" }, t("unanswered")));
    }
  }

  /** Draw again when another checkpoint is chosen. */
  follow() {
    if (this.checkpoint?.name !== this.shownFor) this.draw();
  }

  draw() {
    if (!this.models) return;
    const [loras, checkpoint] = [this.models.loras ?? [], this.checkpoint];
    this.shownFor = checkpoint?.name;
    const search = this.search.value.trim().toLowerCase();
    const found = loras.filter((lora) => isFound(lora, search));
    const none = h("li", { class: "easel-lora-none" }, t(loras.length ? "nothing" : "none"));
    this.list.replaceChildren(...(found.length ? found.map((lora) => this.card(lora, checkpoint)) : [none]));
    this.mark();
  }

  card(lora, checkpoint) {
    const why = lora.problem?.text ?? misfit(lora, checkpoint);
    const source = new URL(`api/v1/models/loras/preview?${new URLSearchParams({ name: lora.name })}`, root).href;
    const picture = lora.has_preview ? h("img", { src: source, alt: "", loading: "lazy" }) : h("span", { class: "easel-lora-blank" });
    const use = () => this.write((prompt) => toggled(prompt, lora.name));
    const button = h(
      "button",
      { type: "button", class: "easel-lora-use", "data-name": lora.name, disabled: Boolean(why), title: lora.name, onclick: use },
      picture,
      h("strong", {}, lora.title || lora.name),
    );
    const words = (lora.words ?? []).slice(0, 6).map((word) =>
      h("button", { type: "button", class: "easel-lora-word", disabled: Boolean(why), onclick: () => this.write((prompt) => withWord(prompt, word)) }, word),
    );
    return h(
      "li",
      { class: why ? "easel-lora-card easel-lora-unfit" : "easel-lora-card" },
      button,
      words.length ? h("div", { class: "easel-lora-words", role: "group", "aria-label": t("words") }, ...words) : null,
      why ? h("p", {}, why) : null,
    );
  }

  /** Change the prompt as if somebody had typed it. */
  write(change) {
    const area = this.prompt;
    area.value = change(area.value);
    area.dispatchEvent(new Event("input", { bubbles: true }));
    this.mark();
  }

  /** Show which LoRAs are in the prompt. */
  mark() {
    const prompt = this.prompt?.value ?? "";
    for (const button of this.list.querySelectorAll(".easel-lora-use")) {
      button.setAttribute("aria-pressed", String(isIn(prompt, button.dataset.name)));
    }
  }
}

customElements.define("easel-loras", Loras);

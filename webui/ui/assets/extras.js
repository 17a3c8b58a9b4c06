// <easel-extras>: the pictures to enlarge: dropped, pasted, chosen or sent from a result, and the jobs made of them.

import { PICTURES } from "./canvas-panel.js";
import { errorCard } from "./cards.js";
import { h, renewed, setText } from "./dom.js";
import { formStarted, remembered, valuesOf } from "./form.js";
import { book } from "./jobs.js";
import { getUpscalers, ServerError, Unreachable, uploadInput } from "./server.js";
import { openTab, whenThere } from "./tabs.js";
import { t } from "./words.js";

const MOST = 100;

class EaselExtras extends HTMLElement {
  #files = [];  // {file, url, upload: promise of {id, width, height}}
  #problems = [];  // {kind, told}: one card each
  #pasted = (event) => this.#paste(event);

  connectedCallback() {
    if (!this.drop) this.#build();
    document.addEventListener("paste", this.#pasted);
    void formStarted("extras").then(() => whenThere("#extras_reload_upscalers")).then((button) => button.click());
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.#pasted);
  }

  /** Pictures to be enlarged, in place of those that are there. */
  take(files) {
    this.#clear();
    this.#add(files);
  }

  /** Ids of the pictures as the server keeps them, in their order. What it does not take gets a card. */
  async pictures() {
    this.#problems = this.#files.length ? [] : [{ kind: "NothingToEnlarge", told: null }];
    this.#update();
    const ids = await Promise.all(this.#files.map((entry) => this.#uploaded(entry)));
    this.#update();
    return ids.filter(Boolean);
  }

  #build() {
    const input = h("input", { type: "file", accept: PICTURES, multiple: true, class: "easel-sr" });
    input.addEventListener("change", () => {
      this.#add([...input.files]);
      input.value = "";  // the same files may be chosen again
    });
    this.cards = h("div", { class: "easel-cards" });
    this.hint = h("span", {});
    this.drop = h("label", { class: "easel-drop" }, input, h("strong", {}, t("extras.drop")), this.hint);
    this.list = h("ul", { class: "easel-extras-list", "aria-label": t("extras.pictures") });
    this.clear = h("button", { type: "button", class: "easel-button", onclick: () => this.#clear() }, t("extras.clear"));
    this.addEventListener("dragover", (event) => this.#dragged(event, true));
    this.addEventListener("dragleave", (event) => this.#dragged(event, false));
    this.addEventListener("drop", (event) => {
      this.#dragged(event, false);
      this.#add([...event.dataTransfer.files]);
    });
    this.replaceChildren(this.cards, this.drop, this.list, this.clear);
    this.#update();
  }

  #dragged(event, isOver) {
    event.preventDefault();
    this.drop.classList.toggle("easel-drop-over", isOver);
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (!files.length || !this.offsetParent || event.target.closest?.("input, textarea")) return;
    event.preventDefault();
    this.#add(files);
  }

  #add(files) {
    const room = MOST - this.#files.length;
    this.#files.push(...files.slice(0, room).map((file) => ({ file, url: URL.createObjectURL(file), upload: null })));
    this.#problems = [];
    this.#update();
  }

  #remove(entry) {
    URL.revokeObjectURL(entry.url);
    this.#files = this.#files.filter((each) => each !== entry);
    this.#update();
  }

  #clear() {
    for (const { url } of this.#files) URL.revokeObjectURL(url);
    this.#files = [];
    this.#update();
  }

  /** Once for each picture; what was refused is sent again the next time. */
  async #uploaded(entry) {
    entry.upload ??= uploadInput(entry.file);
    try {
      return (await entry.upload).id;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      entry.upload = null;
      this.#problems.push({ kind: error.kind, told: error.told });
      return null;
    }
  }

  #update() {
    const count = this.#files.length;
    setText(this.hint, t(count ? "extras.drop.more" : "extras.drop.hint"));
    this.drop.classList.toggle("easel-drop-small", count > 0);
    this.list.hidden = !count;
    this.clear.hidden = count < 2;
    const dismiss = () => {
      this.#problems = [];
      this.#update();
    };
    renewed(this.cards, this.#problems, () => this.#problems.map(({ kind, told }) => errorCard(kind, told, { dismiss })));
    renewed(this.list, this.#files.map(({ url }) => url), () => this.#files.map((entry) => this.#tile(entry)));
  }

  #tile(entry) {
    const name = entry.file.name ?? t("extras.picture");
    const remove = h("button", { type: "button", class: "easel-remove", title: t("extras.remove"), "aria-label": t("extras.remove.of", { file: name }) }, "×");
    remove.addEventListener("click", () => this.#remove(entry));
    return h("li", { class: "easel-tile" }, h("img", { src: entry.url, alt: name, title: name }), remove);
  }
}

/** Generate: one job for every picture, in their order. */
export async function submitExtras(kind, names, values) {
  const request = valuesOf(kind, names, values);
  book.dismissRefusals();
  const ids = await document.querySelector("easel-extras").pictures();
  for (const image of ids) await book.submitNext("upscale", { ...request, image });
}

/** Open the tab with a picture of the page in it. */
export async function sendToExtras(url) {
  openTab("tab_extras");
  const extras = await whenThere("easel-extras");
  try {
    const blob = await (await fetch(url)).blob();
    extras.take([new File([blob], url.split("/").at(-1), { type: blob.type })]);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    book.refuse("upscale", new Unreachable());
  }
}

let tellLoaded;
/** Resolves when the lists have come for the first time, whatever came of it: what is put into them stays from then on. */
export const upscalersLoaded = new Promise((resolve) => (tellLoaded = resolve));

/** Gradio's answer to a click on the hidden button: both lists as the models folder is now. */
export async function reloadUpscalers(current) {
  const same = { __type__: "update" };
  try {
    const { upscalers } = await getUpscalers();
    const { upscaler, second_upscaler: second } = remembered("extras");
    const known = (...names) => names.find((name) => upscalers.includes(name));
    const values = [known(current[0], upscaler, "Lanczos"), known(current[1], second, "None")];
    return values.map((value) => ({ ...same, choices: upscalers.map((name) => [name, name]), value }));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
    return [same, same];
  } finally {
    tellLoaded();
  }
}

book.addEventListener("models", () => document.getElementById("extras_reload_upscalers")?.click());

export const define = () => customElements.define("easel-extras", EaselExtras);

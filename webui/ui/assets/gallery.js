// The strip of small pictures under the stage: newest first, one of them chosen.

import { h } from "./dom.js";
import { server } from "./server.js";
import { t } from "./words.js";

const MOST = 60;

/** Pictures of jobs (oldest job first), newest first, each with its job. */
export function picturesOf(jobs) {
  const all = jobs.flatMap((job) => job.pictures.map((picture) => ({ picture, job })));
  return all.reverse().slice(0, MOST);
}

export const pictureUrl = (picture) => server(picture.url.replace(/^\//, ""));

export class Gallery {
  #buttons = new Map();
  #order = "";

  /** `choose(id)` is called when the reader picks a picture. */
  constructor(kind, choose) {
    this.choose = choose;
    this.element = h("div", {
      id: `${kind}_gallery`,
      class: "easel-gallery",
      role: "listbox",
      "aria-label": t("gallery.label"),
      "aria-orientation": "horizontal",
      onkeydown: (event) => this.#move(event),
    });
  }

  update(entries, chosenId) {
    this.element.hidden = entries.length === 0;
    const order = entries.map(({ picture }) => picture.id).join();
    if (order !== this.#order) this.#arrange(entries, order);
    const focusable = chosenId ?? entries[0]?.picture.id;
    for (const [id, button] of this.#buttons) {
      button.setAttribute("aria-selected", String(id === chosenId));
      button.tabIndex = id === focusable ? 0 : -1;
    }
  }

  #arrange(entries, order) {
    this.#order = order;
    const kept = new Map(entries.map(({ picture, job }) => [picture.id, this.#buttons.get(picture.id) ?? this.#button(picture, job)]));
    this.#buttons = kept;
    const focused = document.activeElement;
    this.element.replaceChildren(...kept.values());
    if ([...kept.values()].includes(focused)) focused.focus({ preventScroll: true });
  }

  #button(picture, job) {
    const alt = job.summary.slice(0, 120) || t("gallery.no_prompt");
    const image = h("img", { src: pictureUrl(picture), alt, loading: "lazy", decoding: "async" });
    return h("button", { type: "button", role: "option", title: alt, onclick: () => this.choose(picture.id) }, image);
  }

  #move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.#buttons.values()];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    next?.focus();
    next?.click();
  }
}

// The grid of the Models tab: cards in rows of one height, of which only those in view are in the page.

import { h } from "./dom.js";
import { previewUrl } from "./models-list.js";
import { t } from "./words.js";

const GAP = 10;
const PADDING = 3;  // of the grid, for outlines
const WIDEST = 190;  // px of a card
const CAPTION = 52;  // px under its picture
const LEAST_COLUMNS = 2;
const ROWS_BEYOND = 2;

const UNITS = ["KB", "MB", "GB", "TB"];

/** Bytes in words: "2.1 GB". */
export function inBytes(bytes) {
  let [value, unit] = [bytes / 1024, 0];
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${UNITS[unit]}`;
}

/** `list`: a ModelList. `choose` gets a model. */
export class ModelGrid {
  #cards = new Map();  // position -> element
  #columns = 1;
  #width = WIDEST;
  #focused = 0;
  #drawing = false;
  /** "shelf/name" of the model whose passport is open. */
  chosen = "";

  constructor(list, choose) {
    this.list = list;
    this.choose = choose;
    this.content = h("div", { class: "easel-models-content" });
    this.element = h(
      "div",
      {
        class: "easel-models-grid", role: "listbox", "aria-label": t("models.label"), tabindex: "-1",
        onscroll: () => this.#scrolled(), onclick: (event) => this.#clicked(event), onkeydown: (event) => this.#key(event),
      },
      this.content,
    );
    new ResizeObserver(() => this.#measure()).observe(this.element);
  }

  get isVisible() {
    return this.element.clientWidth > 0;
  }

  toTop() {
    this.element.scrollTop = 0;
    this.#focused = 0;
    this.draw();
  }

  /** Bring the page up to date with the list; cheap, as a few dozen cards are in it. */
  draw() {
    if (!this.isVisible) return;
    const total = this.list.total ?? 0;
    const rows = Math.ceil(total / this.#columns);
    this.element.setAttribute("role", total ? "listbox" : "group");
    this.content.style.height = `${Math.max(0, rows * this.#pitch - GAP)}px`;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / this.#pitch) - ROWS_BEYOND) * this.#columns;
    const last = Math.min(total, (Math.ceil((scrollTop + clientHeight) / this.#pitch) + ROWS_BEYOND) * this.#columns) - 1;
    this.#focused = Math.max(0, Math.min(this.#focused, total - 1));
    for (const [position, card] of this.#cards) {
      if ((position >= first && position <= last) || (card === document.activeElement && position < total)) continue;
      card.remove();
      this.#cards.delete(position);
    }
    for (let position = first; position <= last; position += 1) this.#drawCard(position, total);
    if (last >= first) this.list.need(first, last);
  }

  get #pitch() {
    return this.#width + CAPTION + GAP;
  }

  #measure() {
    const width = this.element.clientWidth - 2 * PADDING;
    if (width <= 0) return;
    this.#columns = Math.max(LEAST_COLUMNS, Math.ceil((width + GAP) / (WIDEST + GAP)));
    this.#width = Math.floor((width - GAP * (this.#columns - 1)) / this.#columns);
    this.element.style.setProperty("--easel-model", `${this.#width}px`);
    this.element.style.setProperty("--easel-model-height", `${this.#width + CAPTION}px`);
    this.draw();
  }

  #scrolled() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.draw();
    });
  }

  #drawCard(position, total) {
    let card = this.#cards.get(position);
    if (!card) {
      card = h("div", { class: "easel-model", role: "option" });
      this.#cards.set(position, card);
      this.content.append(card);
    }
    const model = this.list.at(position);
    const isChosen = Boolean(model) && this.chosen === `${model.shelf}/${model.name}`;
    card.tabIndex = position === this.#focused ? 0 : -1;
    card.setAttribute("aria-selected", String(isChosen));
    const key = JSON.stringify([model, position, this.#columns, this.#width, total]);
    if (card.easelKey === key) return;
    card.easelKey = key;
    card.dataset.position = position;
    card.style.transform = `translate(${(position % this.#columns) * (this.#width + GAP)}px, ${Math.floor(position / this.#columns) * this.#pitch}px)`;
    card.setAttribute("aria-posinset", String(position + 1));
    card.setAttribute("aria-setsize", String(total));
    card.replaceChildren(...(model ? face(model) : [h("span", { class: "easel-model-name" }, t("pictures.loading"))]));
    card.toggleAttribute("data-broken", Boolean(model?.problem));
    card.title = model?.name ?? "";
  }

  #clicked(event) {
    const card = event.target.closest(".easel-model");
    if (card) this.#open(Number(card.dataset.position));
  }

  #open(position) {
    this.#focused = position;
    const model = this.list.at(position);
    if (model) this.choose(model);
    this.draw();
  }

  #show(position) {
    this.#focused = Math.max(0, Math.min(position, (this.list.total ?? 1) - 1));
    const top = Math.floor(this.#focused / this.#columns) * this.#pitch;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    if (top + this.#pitch > scrollTop + clientHeight) this.element.scrollTop = top + this.#pitch - clientHeight;
    this.draw();
    this.#cards.get(this.#focused)?.focus({ preventScroll: true });
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#pitch)) * this.#columns;
    const targets = {
      ArrowLeft: this.#focused - 1, ArrowRight: this.#focused + 1,
      ArrowUp: this.#focused - this.#columns, ArrowDown: this.#focused + this.#columns,
      PageUp: this.#focused - page, PageDown: this.#focused + page, Home: 0, End: (this.list.total ?? 1) - 1,
    };
    if (event.key in targets) this.#show(targets[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#open(this.#focused);
    else return;
    event.preventDefault();
  }
}

/** Picture, name, and what matters most. */
function face(model) {
  const url = previewUrl(model);
  const picture = url
    ? h("img", { src: url, alt: "", decoding: "async", loading: "lazy", draggable: "false" })
    : h("span", { class: "easel-model-empty", "aria-hidden": "true" }, t(`models.shelf.${model.shelf}`));
  const facts = [model.family, model.precision, model.bytes ? inBytes(model.bytes) : ""].filter(Boolean).join(" · ");
  return [
    h("span", { class: "easel-model-picture" }, picture),
    h("span", { class: "easel-model-name" }, model.problem ? `⚠ ${model.title}` : model.title),
    h("span", { class: "easel-model-facts" }, facts || t(`models.shelf.${model.shelf}`)),
  ];
}

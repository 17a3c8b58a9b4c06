// The grid of the gallery tab: square tiles in rows of one height, of which only those in view are in the page.

import { h } from "./dom.js";
import { addressOf } from "./gallery-list.js";
import { meaning } from "./keys.js";
import { t } from "./words.js";

const CELL_ACTIONS = ["open", "toggle", "range"];
const GAP = 8;
const PADDING = 3;  // of the grid, for outlines
const WIDEST = 200;  // px of a tile
const NARROWEST_COLUMNS = 3;
const ROWS_BEYOND = 2;
const SETTLED_AFTER = 60;  // ms without scrolling before pictures far away are asked for

/** `list`: a PictureList. `act` gets ("open" | "toggle" | "range", position). */
export class Grid {
  #tiles = new Map();  // position -> element
  #columns = 1;
  #side = WIDEST;
  #focused = 0;
  #held = null;  // the place of #focused, once its picture is known
  #settling = null;
  #drawing = false;
  selected = new Set();

  constructor(list, act) {
    this.list = list;
    this.act = act;
    this.content = h("div", { class: "easel-grid-content" });
    this.element = h(
      "div",
      {
        class: "easel-grid", role: "listbox", "aria-multiselectable": "true", "aria-label": t("pictures.label"), tabindex: "-1",
        onscroll: () => this.#scrolled(),
        onclick: (event) => this.#clicked(event),
        onkeydown: (event) => this.#key(event),
      },
      this.content,
    );
    new ResizeObserver(() => this.#measure()).observe(this.element);
  }

  get isVisible() {
    return this.element.clientWidth > 0;
  }

  get scrolled() {
    return this.element.scrollTop > this.#pitch;
  }

  /** The picture that has or had the focus; undefined while it is not known. */
  get picture() {
    return this.#held?.picture ?? this.list.at(this.#focused);
  }

  toTop() {
    this.element.scrollTop = 0;
    this.#focus(0);
    this.draw();
  }

  /** The list has changed: the focus stays with its picture, and goes on to the next only when that is gone. */
  async follow() {
    const held = this.#held;
    this.draw();
    if (!held || this.#held !== held) return;
    const position = await this.list.find(held);
    if (position === undefined || this.#held !== held) return;
    const hadFocus = this.#tiles.get(this.#focused)?.matches(":focus");
    this.#focus(position ?? this.#focused);
    this.draw();
    if (!hadFocus || !this.list.total) return;
    this.#drawTile(this.#focused, this.list.total);  // it may be out of sight by now
    this.#tiles.get(this.#focused).focus({ preventScroll: true });
  }

  /** Bring a position into view and give it the focus, if `focus`. */
  show(position, { focus = true } = {}) {
    this.#focus(Math.max(0, Math.min(position, (this.list.total ?? 1) - 1)));
    const top = Math.floor(this.#focused / this.#columns) * this.#pitch;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    if (top + this.#pitch > scrollTop + clientHeight) this.element.scrollTop = top + this.#pitch - clientHeight;
    this.draw();
    if (focus) this.#tiles.get(this.#focused)?.focus({ preventScroll: true });
  }

  /** Bring the page up to date with the list; cheap, as a few dozen tiles are in it. */
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
    if (!this.#held || this.list.at(this.#focused)?.id === this.#held.picture.id) this.#focus(this.#focused);
    const holdsFocus = this.#tiles.get(this.#focused) === document.activeElement;
    for (const [position, tile] of this.#tiles) {
      const isKept = position >= first && position <= last;
      if (isKept || (position === this.#focused && holdsFocus && position < total)) continue;
      tile.remove();
      this.#tiles.delete(position);
    }
    for (let position = first; position <= last; position += 1) this.#drawTile(position, total);
    clearTimeout(this.#settling);
    if (last >= first) this.#settling = setTimeout(() => this.list.need(first, last), SETTLED_AFTER);
  }

  #focus(position) {
    this.#focused = position;
    this.#held = this.list.placeOf(position);
  }

  get #pitch() {
    return this.#side + GAP;
  }

  #measure() {
    const width = this.element.clientWidth - 2 * PADDING;
    if (width <= 0) return;
    const before = Math.floor(this.element.scrollTop / this.#pitch) * this.#columns;
    this.#columns = Math.max(NARROWEST_COLUMNS, Math.ceil((width + GAP) / (WIDEST + GAP)));
    this.#side = Math.floor((width - GAP * (this.#columns - 1)) / this.#columns);
    this.element.style.setProperty("--easel-tile", `${this.#side}px`);
    this.draw();
    if (before) this.element.scrollTop = Math.floor(before / this.#columns) * this.#pitch;
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

  #drawTile(position, total) {
    let tile = this.#tiles.get(position);
    if (!tile) {
      tile = h("div", { class: "easel-tile", role: "option" }, h("span", { class: "easel-tick", "aria-hidden": "true" }));
      this.#tiles.set(position, tile);
      this.content.append(tile);
    }
    const picture = this.list.at(position);
    const isSelected = Boolean(picture) && this.selected.has(picture.id);
    const key = [picture?.id, picture?.thumbnail, picture?.starred, isSelected, position, this.#columns, this.#side, total].join();
    tile.tabIndex = position === this.#focused ? 0 : -1;
    if (tile.easelKey === key) return;
    tile.easelKey = key;
    tile.dataset.position = position;
    tile.style.transform = `translate(${(position % this.#columns) * this.#pitch}px, ${Math.floor(position / this.#columns) * this.#pitch}px)`;
    tile.setAttribute("aria-posinset", String(position + 1));
    tile.setAttribute("aria-setsize", String(total));
    tile.setAttribute("aria-selected", String(isSelected));
    tile.toggleAttribute("data-starred", Boolean(picture?.starred));
    const words = picture ? picture.prompt || t("gallery.no_prompt") : t("pictures.loading");
    tile.setAttribute("aria-label", picture?.starred ? `${words} ★` : words);
    tile.title = words;
    this.#drawImage(tile, picture);
  }

  #drawImage(tile, picture) {
    const source = picture ? addressOf(picture.thumbnail) : "";
    const image = tile.querySelector("img");
    if (image?.getAttribute("src") === source) return;
    image?.remove();
    if (!source) return;
    const fresh = h("img", { src: source, alt: "", decoding: "async", draggable: "false" });
    fresh.onload = () => fresh.setAttribute("data-shown", "");
    tile.prepend(fresh);
  }

  #clicked(event) {
    const tile = event.target.closest(".easel-tile");
    if (!tile) return;
    const position = Number(tile.dataset.position);
    const isTick = event.target.closest(".easel-tick");
    this.#focus(position);
    if (event.shiftKey) this.act("range", position);
    else if (isTick || event.ctrlKey || event.metaKey || this.selected.size) this.act("toggle", position);
    else this.act("open", position);
    this.draw();
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#pitch)) * this.#columns;
    const total = this.list.total ?? 0;
    const targets = {
      ArrowLeft: this.#focused - 1,
      ArrowRight: this.#focused + 1,
      ArrowUp: this.#focused - this.#columns,
      ArrowDown: this.#focused + this.#columns,
      PageUp: this.#focused - page,
      PageDown: this.#focused + page,
      Home: 0,
      End: total - 1,
    };
    const action = meaning("gallery", event);
    if (event.key in targets) this.show(targets[event.key]);
    else if (CELL_ACTIONS.includes(action)) this.act(action, this.#focused);
    else return;
    event.preventDefault();
  }
}

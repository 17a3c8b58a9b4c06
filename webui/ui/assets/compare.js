// Two results over the whole page: a slider between them, blinking, or their difference, zoomed in step, and a table of
// what differs in how they were made. Opened by the event `easel-compare`.

import { drawDifference } from "./compare-pixels.js";
import { h, renewed, setText } from "./dom.js";
import { addressOf, getPicture, readText } from "./gallery-list.js";
import { meaning } from "./keys.js";
import { ServerError } from "./server.js";
import { ZoomedPair } from "./zoomed-pair.js";
import { t } from "./words.js";

const MODES = ["slider", "blink", "difference"];
const BLINK_EVERY = 600;  // ms
const STEP = 2;  // percent of the slider for a key
const SIDES = ["first", "second"];
const SAYS_NOTHING = ["Version"];

/** Compare two pictures: {id, url, parameters}, the last where it is known. `others`: more of them to choose from. */
export const comparePictures = (pictures, others = pictures) =>
  document.dispatchEvent(new CustomEvent("easel-compare", { detail: { pictures, others } }));

/** Answer the event from now on. */
export function listenToCompare() {
  let compare = null;
  document.addEventListener("easel-compare", ({ detail }) => (compare ??= new Compare()).open(detail));
}

class Compare {
  #mode = MODES[0];
  #pictures = [];
  #split = 50;
  #blinking = null;
  #told = new Map();  // id -> promise of {key: value}

  constructor() {
    this.images = SIDES.map(() => h("img", { class: "easel-compare-image", draggable: "false", onload: () => this.#drawDifference() }));
    this.canvas = h("canvas", { class: "easel-compare-image", role: "img", "aria-label": t("compare.difference") });
    this.layers = [...this.images, this.canvas].map((content) => h("div", { class: "easel-compare-layer" }, content));
    this.handle = h("div", { class: "easel-compare-handle", role: "slider", tabindex: "0", "aria-label": t("compare.handle"), "aria-valuemin": "0", "aria-valuemax": "100" });
    this.stage = h("div", { class: "easel-compare-stage" }, ...this.layers, this.handle);
    this.zoomed = new ZoomedPair(this.stage, [...this.images, this.canvas]);
    this.number = h("p", { class: "easel-compare-number", role: "status" });
    this.modes = h("div", { class: "easel-compare-modes", role: "radiogroup", "aria-label": t("compare.title") }, ...MODES.map((mode) => this.#modeButton(mode)));
    this.selects = SIDES.map((side, i) => h("select", { class: "easel-compare-select", "aria-label": t(`compare.${side}`), onchange: () => this.#choose(i) }));
    this.table = h("div", { class: "easel-compare-table" });
    const close = h("button", { type: "button", class: "easel-button", onclick: () => this.dialog.close() }, t("action.close"));
    const swap = h("button", { type: "button", class: "easel-button", onclick: () => this.#swap() }, t("compare.swap"));
    this.dialog = h(
      "dialog",
      { class: "easel-compare", "aria-label": t("compare.title"), onkeydown: (event) => this.#key(event), onclose: () => this.#rest() },
      h("div", { class: "easel-compare-bar" }, this.modes, this.selects[0], swap, this.selects[1], close),
      this.stage,
      h("div", { class: "easel-compare-side" }, this.number, this.table),
    );
    this.handle.addEventListener("pointerdown", (event) => this.#drag(event));
    this.handle.addEventListener("pointermove", (event) => this.handle.hasPointerCapture(event.pointerId) && this.#slideTo(event.clientX));
    (document.querySelector(".gradio-container") ?? document.body).append(this.dialog);
  }

  open({ pictures, others }) {
    this.#pictures = pictures;
    this.others = [...new Map([...others, ...pictures].map((each) => [each.id, each])).values()];
    this.zoomed.fit();
    if (!this.dialog.open) this.dialog.showModal();
    this.#setMode(this.#mode);
    this.#draw();
    this.modes.querySelector("[aria-checked=true]").focus();
  }

  #modeButton(mode) {
    return h("button", { type: "button", class: "easel-button", role: "radio", "data-mode": mode, onclick: () => this.#setMode(mode) }, t(`compare.${mode}`));
  }

  #setMode(mode) {
    this.#mode = this.dialog.dataset.mode = mode;
    const hadFocus = this.modes.contains(document.activeElement);
    for (const button of this.modes.children) {
      button.setAttribute("aria-checked", String(button.dataset.mode === mode));
      button.tabIndex = button.dataset.mode === mode ? 0 : -1;
    }
    if (hadFocus) this.modes.querySelector("[aria-checked=true]").focus();
    this.#rest();
    // Whoever wants less motion turns it by hand.
    if (mode === "blink" && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.#blinking = setInterval(() => this.#turn(), BLINK_EVERY);
    this.#slide(this.#split);
  }

  #rest() {
    clearInterval(this.#blinking);
    this.#blinking = null;
    delete this.dialog.dataset.turned;
  }

  #turn() {
    this.dialog.toggleAttribute("data-turned");
  }

  #choose(side) {
    const chosen = this.others.find(({ id }) => id === this.selects[side].value);
    this.#pictures = this.#pictures.map((known, i) => (i === side ? chosen : known));
    this.#draw();
  }

  #swap() {
    this.#pictures = this.#pictures.toReversed();
    this.#draw();
  }

  #draw() {
    this.#pictures.forEach((picture, i) => {
      const source = addressOf(picture.url);
      if (this.images[i].getAttribute("src") !== source) this.images[i].src = source;
      this.images[i].alt = t(`compare.${SIDES[i]}`);
      renewed(this.selects[i], [this.others.map(({ id }) => id), picture.id], () =>
        this.others.map((each, n) => h("option", { value: each.id, selected: each.id === picture.id }, label(each, n))),
      );
    });
    this.#drawDifference();
    void this.#drawTable();
  }

  #drawDifference() {
    if (!this.dialog.open || !this.images.every((image) => image.complete && image.naturalWidth)) return;
    const { share, mean } = drawDifference(this.canvas, ...this.images);
    const [one, other] = this.images.map(({ naturalWidth, naturalHeight }) => `${naturalWidth} × ${naturalHeight}`);
    const isScaled = one === other ? "" : ` ${t("compare.scaled", { one, other })}`;
    const exact = { share: percent(share), mean: mean.toLocaleString(undefined, { maximumFractionDigits: 2 }) };
    setText(this.number, (share ? t("compare.number", exact) : t("compare.same")) + isScaled);
  }

  async #drawTable() {
    const pictures = this.#pictures;
    const [one, other] = await Promise.all(pictures.map((picture) => this.#learn(picture)));
    if (pictures !== this.#pictures) return;  // the reader was quicker
    const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((key) => !SAYS_NOTHING.includes(key) && one[key] !== other[key]);
    renewed(this.table, [pictures.map(({ id }) => id), keys], () => (keys.length ? table(keys, one, other) : h("p", {}, t("compare.no_parameters"))));
  }

  #learn(picture) {
    if (!this.#told.has(picture.id)) this.#told.set(picture.id, parametersOf(picture));
    return this.#told.get(picture.id);
  }

  #drag(event) {
    this.handle.setPointerCapture(event.pointerId);
    event.stopPropagation();
  }

  #slideTo(clientX) {
    const { left, width } = this.stage.getBoundingClientRect();
    this.#slide(((clientX - left) / width) * 100);
  }

  #slide(percentage) {
    this.#split = Math.min(100, Math.max(0, percentage));
    this.stage.style.setProperty("--split", `${this.#split}%`);
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.#split)));
  }

  #key(event) {
    const action = meaning("compare", event);
    if (!action || event.target.closest("select")) return;
    const acts = {
      left: () => this.#slide(this.#split - STEP), right: () => this.#slide(this.#split + STEP),
      turn: () => this.#byHand(), swap: () => this.#swap(),
      in: () => this.zoomed.zoom(1.25), out: () => this.zoomed.zoom(0.8), fit: () => this.zoomed.fit(),
    };
    if (MODES.includes(action)) this.#setMode(action);
    else acts[action]();
    event.preventDefault();
    event.stopPropagation();
  }

  /** The first press stops the blinking, every one shows the other picture. */
  #byHand() {
    if (this.#mode !== "blink") return;
    clearInterval(this.#blinking);
    this.#turn();
  }
}

const label = ({ title, seed }, n) => `${n + 1}. ${(title || t("gallery.no_prompt")).slice(0, 60)} · ${seed ?? "–"}`;

/** Small shares are not rounded to nothing. */
const percent = (share) => (share * 100).toLocaleString(undefined, { maximumSignificantDigits: 3 });

async function parametersOf({ id, parameters }) {
  try {
    const info = parameters === undefined ? (await getPicture(id)).info : await readText(parameters);
    const { prompt, negative_prompt } = info.values;
    return { [t("param.prompt.label")]: prompt, [t("param.negative_prompt.label")]: negative_prompt, ...info.fields };
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return {};
  }
}

function table(keys, ...told) {
  const head = h("tr", {}, ...["compare.parameter", "compare.first", "compare.second"].map((key) => h("th", { scope: "col" }, t(key))));
  const rows = keys.map((key) => h("tr", {}, h("th", { scope: "row" }, key), ...told.map((each) => h("td", {}, each[key] ?? "–"))));
  return h("table", { class: "easel-info-table" }, h("caption", {}, t("compare.table")), h("thead", {}, head), h("tbody", {}, ...rows));
}

// <easel-canvas>: a picture, and a mask or a sketch over it at the picture's full resolution. Knows no server and no form.

import { Hand } from "./canvas-hand.js";
import { History, isBlank, MaskLayer, pack, PaintLayer, unpack } from "./canvas-layer.js";
import { isBrush, Painter } from "./canvas-painter.js";
import { isTool, Panel, PICTURES, SIZES } from "./canvas-panel.js";
import { maskPng, maskValues, pixelsOf } from "./canvas-png.js";
import { clear, feather, grow, invert, replace } from "./canvas-shapes.js";
import { View } from "./canvas-view.js";
import { h, setText } from "./dom.js";
import { browser } from "./storage.js";
import { t } from "./words.js";

const SETTINGS = { size: 48, tolerance: 24, edge: 8, maskColour: "#ff2d6f", opacity: 0.55, colour: "#1f6feb", pressure: true };

/**
 * Emits "pick" (detail: the files somebody chose, dropped or pasted), "pickurl" (detail: the address of a
 * picture of the page that was dropped), "pickmask" (detail: a file), "remove", "painted"
 * after every change of a layer, and "problem" (detail: {key, values} of a sentence).
 */
class EaselCanvas extends HTMLElement {
  #history = new History();
  #settings = { ...SETTINGS, ...(browser.get("canvas") ?? {}) };
  #tool = "brush";
  #over = null;  // "mask" | "paint": what lies over the picture and is painted on
  #isShown = true;
  #lastMask = null;
  #paste = (event) => this.#pasted(event);
  bitmap = null;
  mask = null;
  paint = null;

  connectedCallback() {
    if (!this.stage) this.#build();
    document.addEventListener("paste", this.#paste);
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.#paste);
  }

  // For whoever uses the element.

  /** Show `bitmap` with an empty mask and sketch; the mask so far becomes the last one. */
  async setPicture(bitmap) {
    this.painter.cancel();
    if (this.isMasked) this.rememberMask();
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.mask = bitmap && new MaskLayer(bitmap.width, bitmap.height);
    this.paint = null;
    this.#history.reset();
    const size = bitmap && `${bitmap.width} × ${bitmap.height}`;
    if (bitmap && this.#settings.sizeFor !== size) {  // a brush that suits the picture, until somebody takes another
      this.#set("sizeFor", size);
      this.#setSize(Math.round(Math.max(bitmap.width, bitmap.height) / 10));
    }
    this.#update();
    await this.view.show(bitmap);
  }

  /** What is painted on: "mask", "paint" (the sketch) or null; `hasTools` shows the tools for it. */
  use(over, hasTools = true) {
    this.#over = over;
    this.#hasTools = hasTools;
    if (this.#tool === "pick" && over !== "paint") this.#tool = "brush";
    this.#update();
    this.view.redraw();
  }

  #hasTools = true;

  get isMasked() {
    return !isBlank(this.mask);
  }

  get isSketched() {
    return !isBlank(this.paint);
  }

  /** The sketch's own mask: where anything is painted. */
  get sketchMask() {
    const mask = new MaskLayer(this.bitmap.width, this.bitmap.height);
    this.paint?.data.forEach((value, i) => (mask.data[i] = value >>> 24));
    return mask;
  }

  /** Pixels of the picture with the sketch over it, 4 bytes each. */
  sketched() {
    const pixels = pixelsOf(this.bitmap, "white");
    this.paint?.data.forEach((value, i) => {
      const share = (value >>> 24) / 255;
      for (let k = 0; share && k < 3; k += 1) {
        pixels[i * 4 + k] = Math.round(((value >>> (8 * k)) & 255) * share + pixels[i * 4 + k] * (1 - share));
      }
    });
    return pixels;
  }

  /** Put the values of `bitmap`, as white is masked, into the mask. False when it has another size. */
  setMask(bitmap) {
    const { width, height } = this.bitmap;
    if (bitmap.width !== width || bitmap.height !== height) {
      this.#problem("canvas.mask_size", { mask: `${bitmap.width} × ${bitmap.height}`, picture: `${width} × ${height}` });
      return false;
    }
    this.#apply(() => replace(this.mask, this.#history, maskValues(bitmap)));
    return true;
  }

  /** The mask as it is now can be taken again after it has been cleared or another picture has come. */
  rememberMask() {
    this.#lastMask = keep(this.mask);
    this.#update();
  }

  /** Everything that is painted, to be kept and given to `restore` some day. */
  kept() {
    return { mask: keep(this.mask), paint: keep(this.paint), last: this.#lastMask };
  }

  /** Layers of a picture of another size are left out. */
  restore({ mask, paint, last }) {
    if (this.#fits(mask)) unpack(mask, this.mask.data);
    if (this.#fits(paint)) unpack(paint, this.#needPaint().data);
    this.#lastMask = last ?? null;
    this.#history.reset();
    this.#update();
    this.view.redraw();
  }

  #fits = (kept) => Boolean(kept && this.bitmap && kept.width === this.bitmap.width && kept.height === this.bitmap.height);

  // What it is made of.

  #build() {
    this.ring = h("div", { class: "easel-canvas-ring", hidden: true });
    this.input = h("input", { type: "file", accept: PICTURES, class: "easel-sr", onchange: () => this.#chosen() });
    this.empty = h("label", { class: "easel-canvas-empty" }, this.input, h("strong", {}, t("canvas.empty")), h("span", {}, t("canvas.empty.more")));
    this.foot = h("p", { class: "easel-canvas-foot", "aria-live": "polite" });
    this.stage = h("div", { class: "easel-canvas-stage", tabindex: "0", role: "application" }, this.ring, this.empty);
    this.panel = new Panel(this.#settings, {
      does: this.does,
      choose: (tool) => this.#choose(tool),
      set: (name, value) => this.#set(name, value),
      pick: (files) => this.#tell("pick", files),
      pickMask: (file) => this.#tell("pickmask", file),
    });
    this.replaceChildren(this.panel.element, this.stage, this.foot);
    this.view = new View(this.stage, () => this.#look(), () => this.#moved());
    this.painter = new Painter(this.view, this.#history, this.#settings);
    this.ring.before(this.painter.lines);
    this.hand = new Hand(this.stage, this.view, {
      begin: (point, isErasing) => this.#begin(point, isErasing),
      move: (points) => this.painter.move(points),
      end: () => this.painter.end() && this.#commit(),
      cancel: () => this.painter.cancel(),
      resize: (steps) => this.#resize(steps),
      hover: (event) => this.#hover(event),
      isHand: () => this.#tool === "hand" || !this.#over || !this.#hasTools,
      usesPressure: () => this.#settings.pressure,
    });
    this.addEventListener("keydown", (event) => this.#key(event));
    for (const type of ["dragover", "dragleave", "drop"]) this.addEventListener(type, (event) => this.#dragged(event));
    this.#update();
  }

  /** What buttons and keys do. */
  does = {
    undo: () => this.#step("undo"),
    redo: () => this.#step("redo"),
    fit: () => this.view.fit(),
    in: () => this.view.zoom(1.25),
    out: () => this.view.zoom(0.8),
    left: () => this.view.pan(40, 0),
    right: () => this.view.pan(-40, 0),
    up: () => this.view.pan(0, 40),
    down: () => this.view.pan(0, -40),
    smaller: () => this.#resize(-1),
    larger: () => this.#resize(1),
    fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : this.requestFullscreen?.()),
    remove: () => this.#tell("remove"),
    show: () => this.#show(!this.#isShown),
    invert: () => this.#over === "mask" && this.#apply(() => invert(this.mask, this.#history)),
    clear: () => this.#layer && this.#apply(() => clear(this.#layer, this.#history)),
    grow: () => this.#apply(() => grow(this.mask, this.#history, this.#settings.edge)),
    shrink: () => this.#apply(() => grow(this.mask, this.#history, -this.#settings.edge)),
    feather: () => this.#apply(() => feather(this.mask, this.#history, this.#settings.edge)),
    last: () => this.#takeLast(),
    download: () => this.#download(),
  };

  get #layer() {
    if (!this.bitmap) return null;
    return this.#over === "paint" ? this.#needPaint() : this.#over && this.mask;
  }

  #needPaint() {
    this.paint ??= new PaintLayer(this.bitmap.width, this.bitmap.height);
    return this.paint;
  }

  #look() {
    const nothing = !this.#isShown || !this.#over;
    return {
      mask: !nothing && this.#over === "mask" ? this.mask : null,
      paint: !nothing && this.#over === "paint" ? this.paint : null,
      colour: rgb(this.#settings.maskColour),
      opacity: this.#settings.opacity,
    };
  }

  // Painting.

  #begin(point, isErasing) {
    const layer = this.#layer;
    if (!layer) return;
    this.#show(true);
    if (this.#tool === "pick") return this.#pickColour(point);
    const paint = this.#over === "paint" ? packed(rgb(this.#settings.colour)) : layer.full;
    this.painter.begin(this.#tool, layer, isErasing || this.#tool === "eraser" ? 0 : paint, this.bitmap, point);
  }

  #pickColour({ x, y }) {
    const spot = new OffscreenCanvas(1, 1).getContext("2d");
    spot.drawImage(this.bitmap, -Math.floor(x), -Math.floor(y));
    const [red, green, blue] = spot.getImageData(0, 0, 1, 1).data;
    this.panel.colour.value = `#${[red, green, blue].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    this.#set("colour", this.panel.colour.value);
    this.#choose("brush");
  }

  /** Do something to a layer that is one step of the history. */
  #apply(change) {
    if (!this.bitmap || this.hand.isBusy) return;
    this.view.changed(change());
    this.#commit();
  }

  #step(name) {
    if (this.hand.isBusy) return;
    this.view.changed(this.#history[name]());
    this.#painted();
  }

  #commit() {
    if (this.#history.commit()) this.#painted();
  }

  #painted() {
    this.#update();
    this.#tell("painted");
  }

  #takeLast() {
    const last = this.#lastMask;
    if (!last || !this.bitmap) return;
    const { width, height } = this.bitmap;
    if (!this.#fits(last)) {
      return this.#problem("canvas.mask_size", { mask: `${last.width} × ${last.height}`, picture: `${width} × ${height}` });
    }
    const values = new Uint8Array(width * height);
    unpack(last, values);
    this.#apply(() => replace(this.mask, this.#history, values));
  }

  async #download() {
    const url = URL.createObjectURL(await maskPng(this.mask));
    h("a", { href: url, download: "mask.png" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // Everything else.

  #choose(tool) {
    this.#tool = tool;
    this.#update();
  }

  #set(name, value) {
    this.#settings[name] = value;
    browser.set("canvas", this.#settings);
    if (name === "opacity" || name === "maskColour") this.view.redraw();
  }

  #resize(steps) {
    const { size } = this.#settings;
    this.#setSize(steps > 0 ? Math.max(size + 1, Math.round(size * SIZES.step)) : Math.min(size - 1, Math.round(size / SIZES.step)));
  }

  #setSize(size) {
    this.#set("size", Math.min(SIZES.most, Math.max(SIZES.least, size)));
    this.panel.showSize(this.#settings.size);
    this.#drawRing();
  }

  #show(isShown) {
    if (isShown === this.#isShown) return;
    this.#isShown = isShown;
    this.#update();
    this.view.redraw();
  }

  #hover(event) {
    this.pointer = event && this.bitmap ? { clientX: event.clientX, clientY: event.clientY } : null;
    this.#drawRing();
  }

  #drawRing() {
    const isSeen = Boolean(this.pointer && isBrush(this.#tool) && this.#over && this.#hasTools);
    this.ring.hidden = !isSeen;
    if (!isSeen) return;
    const box = this.stage.getBoundingClientRect();
    const across = Math.max(3, this.#settings.size * this.view.zoomed);
    this.ring.style.width = this.ring.style.height = `${across}px`;
    this.ring.style.translate = `${this.pointer.clientX - box.left - across / 2}px ${this.pointer.clientY - box.top - across / 2}px`;
  }

  #moved() {
    this.#drawRing();
    this.#tellSize();
  }

  #tellSize() {
    const { bitmap } = this;
    setText(this.foot, bitmap ? t("canvas.foot", { width: bitmap.width, height: bitmap.height, zoom: Math.round(this.view.zoomed * 100) }) : "");
  }

  #key(event) {
    if (event.target.closest("input, summary")) return;
    if (event.key === " " && event.target === this.stage) event.preventDefault();  // held down it pans, and must not scroll
    const name = this.panel.meant(event);
    if (!name) return;
    event.preventDefault();
    if (isTool(name)) this.#choose(name);
    else this.does[name]();
  }

  #chosen() {
    const files = [...this.input.files];
    this.input.value = "";
    if (files.length) this.#tell("pick", files);
  }

  #dragged(event) {
    event.preventDefault();
    this.classList.toggle("easel-drop-over", event.type === "dragover");
    if (event.type !== "drop") return;
    const { files } = event.dataTransfer;
    const [url] = event.dataTransfer.getData("text/uri-list").split(/\s/);
    if (url.startsWith(location.origin)) this.#tell("pickurl", url);  // a picture of this page
    else if (files.length) this.#tell("pick", [...files]);
  }

  #pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (!files.length || !this.checkVisibility?.()) return;
    event.preventDefault();
    this.#tell("pick", files);
  }

  #tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #problem(key, values) {
    this.#tell("problem", { key, values });
  }

  #update() {
    const has = Boolean(this.bitmap);
    this.empty.hidden = has;
    this.panel.update({
      isEmpty: !has,
      over: this.#over,
      hasTools: this.#hasTools,
      tool: this.#tool,
      isShown: this.#isShown,
      canUndo: this.#history.canUndo,
      canRedo: this.#history.canRedo,
      hasLast: Boolean(this.#lastMask),
    });
    this.stage.dataset.tool = !has ? "none" : this.#over && this.#hasTools ? this.#tool : "hand";
    this.stage.setAttribute("aria-label", t(has ? "canvas.stage" : "canvas.empty"));
    this.#tellSize();
    this.#drawRing();
  }

}

const rgb = (colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
function keep(layer) {
  if (isBlank(layer)) return null;
  return { width: layer.width, height: layer.height, ...pack(layer.data) };
}

export const define = () => customElements.define("easel-canvas", EaselCanvas);

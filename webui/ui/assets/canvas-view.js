// What part of the picture is seen, and how it is drawn: the picture on one canvas, mask and sketch on another above it.
// Both are as large as the stage and not as the picture, and of the upper one only what has changed is drawn again.

import { h } from "./dom.js";
import { everything, union } from "./canvas-layer.js";

const MOST_ZOOM = 40;  // screen pixels per pixel of the picture
const SMALLEST_LEVEL = 1024;
const PIXELS_SEEN_FROM = 3;  // zoom from which single pixels are drawn as squares

export class View {
  #levels = [];  // the picture, half of it, a quarter …: drawing a large picture small is slow and ugly
  #dirty = null;
  #frame = 0;
  #isMoved = false;
  #density = 1;
  /** Screen pixels per pixel of the picture, and where its upper left corner is, in screen pixels. */
  scale = 1;
  x = 0;
  y = 0;
  #fitted = true;

  /** `look()` answers what lies over the picture: {mask, paint, colour: [r, g, b], opacity}. `moved()` is told of zooms. */
  constructor(stage, look, moved) {
    Object.assign(this, { stage, look, moved });
    this.picture = h("canvas", { class: "easel-canvas-picture", "aria-hidden": "true" });
    this.overlay = h("canvas", { class: "easel-canvas-overlay", "aria-hidden": "true" });
    stage.prepend(this.picture, this.overlay);
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(stage);
  }

  get size() {
    const [bitmap] = this.#levels;
    return bitmap ? { width: bitmap.width, height: bitmap.height } : null;
  }

  /** Show another picture, or none. */
  async show(bitmap) {
    this.#levels = bitmap ? [bitmap] : [];
    this.fit();
    let last = bitmap;
    while (last && Math.max(last.width, last.height) > SMALLEST_LEVEL) {
      const half = { resizeWidth: Math.ceil(last.width / 2), resizeHeight: Math.ceil(last.height / 2), resizeQuality: "medium" };
      last = await createImageBitmap(last, half);
      if (this.#levels[0] !== bitmap) return;  // yet another picture came meanwhile
      this.#levels.push(last);
    }
    this.#isMoved = true;
    this.#schedule();
  }

  /** The whole picture in the middle of the stage. */
  fit() {
    this.#fitted = true;
    const { width, height } = this.picture;
    const size = this.size;
    if (size && width && height) {
      this.scale = Math.min(width / size.width, height / size.height, 8);
      this.x = (width - size.width * this.scale) / 2;
      this.y = (height - size.height * this.scale) / 2;
    }
    this.#move();
  }

  /** Zoom by `factor` around a point of the window; without one, around the middle. */
  zoom(factor, clientX, clientY) {
    if (!this.size) return;
    const box = this.stage.getBoundingClientRect();
    const px = (clientX === undefined ? box.width / 2 : clientX - box.left) * this.#density;
    const py = (clientY === undefined ? box.height / 2 : clientY - box.top) * this.#density;
    const least = Math.min(1, this.picture.width / this.size.width, this.picture.height / this.size.height) / 2;
    const scale = Math.min(MOST_ZOOM, Math.max(least, this.scale * factor));
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#fitted = false;
    this.#keepInSight();
    this.#move();
  }

  /** Move the picture by a distance in the window. */
  pan(dx, dy) {
    this.x += dx * this.#density;
    this.y += dy * this.#density;
    this.#fitted = false;
    this.#keepInSight();
    this.#move();
  }

  /** Where a point of the window is in the picture. */
  at(clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    return {
      x: ((clientX - box.left) * this.#density - this.x) / this.scale,
      y: ((clientY - box.top) * this.#density - this.y) / this.scale,
    };
  }

  /** Where a point of the picture is on the stage, in CSS pixels. */
  onStage({ x, y }) {
    return { x: (x * this.scale + this.x) / this.#density, y: (y * this.scale + this.y) / this.#density };
  }

  /** CSS pixels per pixel of the picture. */
  get zoomed() {
    return this.scale / this.#density;
  }

  /** The layers have changed inside `rect`; null when they have not. */
  changed(rect) {
    if (!rect) return;
    this.#dirty = union(this.#dirty, rect);
    this.#schedule();
  }

  /** Draw everything that waits to be drawn now, for tests and measurements. */
  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#isMoved) this.#drawPicture();
    const seen = this.#isMoved ? { x0: 0, y0: 0, x1: this.overlay.width, y1: this.overlay.height } : this.#onScreen(this.#dirty);
    if (seen) this.#drawLayers(seen);
    this.#isMoved = false;
    this.#dirty = null;
  }

  /** Everything has to be drawn again: other colours, another mode. */
  redraw() {
    this.#isMoved = true;
    this.#schedule();
  }

  #move() {
    this.redraw();
    this.moved();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  #resize() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !height) return;  // its tab is closed
    this.#density = devicePixelRatio || 1;
    for (const canvas of [this.picture, this.overlay]) {
      canvas.width = Math.round(width * this.#density);
      canvas.height = Math.round(height * this.#density);
    }
    if (this.#fitted) this.fit();
    else this.#keepInSight();
    this.#isMoved = true;
    this.draw();  // now: a canvas that has been resized is empty, and would be painted so
    this.moved();
  }

  /** A picture that was pushed out of the stage could not be found again. */
  #keepInSight() {
    if (!this.size) return;
    const margin = 40 * this.#density;
    const clamp = (value, length, room) => Math.min(room - margin, Math.max(margin - length * this.scale, value));
    this.x = clamp(this.x, this.size.width, this.picture.width);
    this.y = clamp(this.y, this.size.height, this.picture.height);
  }

  #drawPicture() {
    const context = this.picture.getContext("2d");
    context.clearRect(0, 0, this.picture.width, this.picture.height);
    if (!this.size) return;
    const wanted = this.size.width * this.scale;
    const level = this.#levels.findLast(({ width }) => width >= wanted) ?? this.#levels[0];
    context.fillStyle = "white";  // as the server has it: what is transparent becomes white
    context.fillRect(this.x, this.y, wanted, this.size.height * this.scale);
    context.imageSmoothingEnabled = this.scale < PIXELS_SEEN_FROM;
    context.drawImage(level, this.x, this.y, wanted, this.size.height * this.scale);
  }

  /** The rectangle of the screen that shows `rect` of the picture, a pixel more at each side; null when none does. */
  #onScreen(rect) {
    if (!rect) return null;
    const seen = {
      x0: Math.max(0, Math.floor(rect.x0 * this.scale + this.x) - 1),
      y0: Math.max(0, Math.floor(rect.y0 * this.scale + this.y) - 1),
      x1: Math.min(this.overlay.width, Math.ceil(rect.x1 * this.scale + this.x) + 1),
      y1: Math.min(this.overlay.height, Math.ceil(rect.y1 * this.scale + this.y) + 1),
    };
    return seen.x0 < seen.x1 && seen.y0 < seen.y1 ? seen : null;
  }

  /** For every pixel of the screen the pixel of the layers that is nearest to its middle. */
  #drawLayers({ x0, y0, x1, y1 }) {
    const { mask, paint, colour, opacity } = this.look();
    const context = this.overlay.getContext("2d");
    const layer = mask ?? paint;
    if (!layer || !this.size) return context.clearRect(x0, y0, x1 - x0, y1 - y0);
    const image = context.createImageData(x1 - x0, y1 - y0);
    const out = new Uint32Array(image.data.buffer);
    const columns = Int32Array.from({ length: x1 - x0 }, (_, k) => Math.floor((k + x0 + 0.5 - this.x) / this.scale));
    const tints = mask ? tintsOf(colour, opacity) : null;
    const inside = everything(layer);
    const first = columns.findIndex((column) => column >= 0);
    const end = columns.findLastIndex((column) => column < inside.x1) + 1;
    for (let y = y0; first >= 0 && y < y1; y += 1) {
      const row = Math.floor((y + 0.5 - this.y) / this.scale);
      if (row < 0 || row >= inside.y1) continue;
      const from = row * layer.width;
      const to = (y - y0) * (x1 - x0);
      if (mask) for (let k = first; k < end; k += 1) out[to + k] = tints[mask.data[from + columns[k]]];
      else for (let k = first; k < end; k += 1) out[to + k] = paint.data[from + columns[k]];
    }
    context.putImageData(image, x0, y0);
  }
}

/** What each mask value looks like, as ImageData has it. */
const tintsOf = ([red, green, blue], opacity) =>
  Uint32Array.from({ length: 256 }, (_, value) => ((Math.round(value * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0);

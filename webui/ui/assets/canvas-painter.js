// One stroke, rectangle, lasso or flood from its first point to its last. Owns nothing of what it paints on.

import { box, flood, lasso, stroke } from "./canvas-shapes.js";
import { pixelsOf } from "./canvas-png.js";

const SVG = "http://www.w3.org/2000/svg";
const BRUSHES = ["brush", "eraser"];
export const isBrush = (tool) => BRUSHES.includes(tool);

export class Painter {
  #path = [];
  #tool = "brush";
  #ink = 0;
  #layer = null;

  constructor(view, history, settings) {
    Object.assign(this, { view, history, settings });
    this.lines = document.createElementNS(SVG, "svg");
    this.outline = document.createElementNS(SVG, "polygon");
    this.lines.append(this.outline);
  }

  /** `ink` is what the pixels become, 0 takes away; points are {x, y, pressure} in pixels of the picture. */
  begin(tool, layer, ink, bitmap, point) {
    this.#tool = tool;
    this.#layer = layer;
    this.#ink = ink;
    this.#path = [this.#dot(point)];
    if (tool === "flood") this.#flood(bitmap, point);
    else if (isBrush(tool)) this.move([point]);
  }

  move(points) {
    if (!this.#path.length) return;
    for (const point of points) {
      const next = this.#dot(point);
      if (!isBrush(this.#tool)) this.#path.push(next);
      else {
        this.view.changed(stroke(this.#layer, this.history, this.#ink, this.#path[0], next));
        this.#path = [next];
      }
    }
    this.#drawOutline();
  }

  /** True when there was something to end. */
  end() {
    const path = this.#path;
    this.#path = [];
    this.#drawOutline();
    if (this.#tool === "box" && path.length) this.view.changed(box(this.#layer, this.history, this.#ink, path[0], path.at(-1)));
    if (this.#tool === "lasso" && path.length) this.view.changed(lasso(this.#layer, this.history, this.#ink, path));
    return path.length > 0;
  }

  cancel() {
    this.#path = [];
    this.#drawOutline();
    this.view.changed(this.history.abort());
  }

  #dot = ({ x, y, pressure }) => ({ x, y, r: (this.settings.size / 2) * pressure });

  #flood(bitmap, { x, y }) {
    if (x < 0 || y < 0 || x >= bitmap.width || y >= bitmap.height) return;
    const pixels = pixelsOf(bitmap, "white");
    this.view.changed(flood(this.#layer, this.history, this.#ink, pixels, x, y, this.settings.tolerance));
  }

  #drawOutline() {
    const path = isBrush(this.#tool) ? [] : this.#path;
    const corners = this.#tool === "box" && path.length ? cornersOf(path[0], path.at(-1)) : path;
    const points = corners.map((point) => this.view.onStage(point)).map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`);
    this.outline.setAttribute("points", points.join(" "));
  }
}

const cornersOf = (a, b) => [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];

// A loss curve: the measured values faint, their smoothed course strong, with a readout under the pointer.

import { h, setText } from "./dom.js";
import { t } from "./words.js";

const HEIGHT = 220;
const MARGIN = { left: 54, right: 12, top: 10, bottom: 26 };
const TICKS = 5;

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An exponential average without the bias of its beginning, as TensorBoard draws it. `weight` 0 to below 1. */
export function smoothed(points, weight) {
  let sum = 0;
  let share = 0;
  return points.map(([step, loss]) => {
    sum = weight * sum + (1 - weight) * loss;
    share = weight * share + (1 - weight);
    return [step, sum / share];
  });
}

/** About `count` round numbers between two others. */
export function niceTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const ticks = [];
  for (let tick = Math.ceil(low / size) * size; tick <= high + size * 1e-9; tick += size) ticks.push(tick);
  return ticks;
}

/** 1, 2 and 5 times every power of ten between two numbers above 0; the powers alone when that is too many. */
export function logTicks(low, high) {
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) powers.push(10 ** power);
  const all = powers.flatMap((power) => [power, 2 * power, 5 * power]);
  const inside = (ticks) => ticks.filter((tick) => tick >= low && tick <= high);
  return inside(all).length > 8 ? inside(powers) : inside(all);
}

export const shortNumber = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
};

export class LossPlot {
  #points = [];
  #options = { log: false, smoothing: 0 };
  #smooth = [];

  constructor() {
    this.svg = s("svg", { class: "easel-plot", role: "img", height: HEIGHT });
    this.readout = h("p", { class: "easel-plot-readout" });
    this.element = h("div", { class: "easel-plot-frame" }, this.svg, this.readout);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#unpoint());
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** `points`: [[step, loss], …] in order; `options`: {log, smoothing (0 to below 1)}. */
  update(points, options) {
    this.#points = points.filter(([, loss]) => Number.isFinite(loss));
    this.#options = options;
    this.#draw();
  }

  #draw() {
    const width = this.element.clientWidth;
    if (!width) return;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const { log, smoothing } = this.#options;
    const points = log ? this.#points.filter(([, loss]) => loss > 0) : this.#points;
    this.#smooth = smoothed(points, smoothing);
    this.svg.replaceChildren();
    const last = this.#smooth.at(-1);
    this.svg.setAttribute("aria-label", last ? t("train.plot.label", { step: last[0], loss: shortNumber(last[1]) }) : t("train.plot.empty"));
    if (points.length < 2) return this.#say(t("train.plot.empty"), width);
    this.#scale(points, width, log);
    this.#drawAxes(width, log);
    const faint = smoothing > 0 ? "easel-plot-raw" : "easel-plot-line";
    this.svg.append(this.#path(points, faint));
    if (smoothing > 0) this.svg.append(this.#path(this.#smooth, "easel-plot-line"));
    this.cursor = s("line", { class: "easel-plot-cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
    this.dot = s("circle", { class: "easel-plot-dot", r: 3.5, visibility: "hidden" });
    this.svg.append(this.cursor, this.dot);
  }

  #say(text, width) {
    const words = s("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "easel-plot-text" });
    words.textContent = text;
    this.svg.append(words);
  }

  /** A few outliers at the beginning must not press the rest of the curve flat. */
  #scale(points, width, log) {
    const losses = points.map(([, loss]) => loss).sort((a, b) => a - b);
    const top = log ? losses.at(-1) : Math.max(losses[Math.floor((losses.length - 1) * 0.99)], ...this.#smooth.slice(-1).map(([, loss]) => loss));
    const [low, high] = [losses[0], top > losses[0] ? top : losses[0] + (Math.abs(losses[0]) || 1) * 0.1];
    const room = log ? 1 : (high - low) * 0.06;
    this.range = log ? [low / 1.1, high * 1.1] : [Math.max(low - room, low >= 0 ? 0 : -Infinity), high + room];
    this.steps = [points[0][0], points.at(-1)[0]];
    const [first, final] = this.steps;
    const [from, to] = log ? this.range.map(Math.log) : this.range;
    this.x = (step) => MARGIN.left + ((step - first) / (final - first || 1)) * (width - MARGIN.left - MARGIN.right);
    this.y = (loss) => {
      const value = log ? Math.log(loss) : loss;
      const share = Math.min(1, Math.max(0, (value - from) / (to - from || 1)));
      return HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);
    };
  }

  #drawAxes(width, log) {
    for (const loss of log ? logTicks(...this.range) : niceTicks(...this.range, TICKS)) {
      const y = this.y(loss);
      const label = s("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end", class: "easel-plot-text" });
      label.textContent = shortNumber(loss);
      this.svg.append(s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, class: "easel-plot-grid" }), label);
    }
    for (const step of niceTicks(...this.steps, Math.max(2, Math.floor(width / 130)))) {
      const label = s("text", { x: this.x(step), y: HEIGHT - 8, "text-anchor": "middle", class: "easel-plot-text" });
      label.textContent = step.toLocaleString();
      if (Number.isInteger(step)) this.svg.append(label);
    }
  }

  #path(points, name) {
    const corners = points.map(([step, loss], i) => `${i ? "L" : "M"}${this.x(step).toFixed(1)} ${this.y(loss).toFixed(1)}`);
    return s("path", { d: corners.join(""), class: name });
  }

  #point(event) {
    if (!this.x || this.#smooth.length < 2 || !this.cursor) return;
    const at = event.clientX - this.svg.getBoundingClientRect().left;
    const i = this.#smooth.reduce((best, [step], j) => (Math.abs(this.x(step) - at) < Math.abs(this.x(this.#smooth[best][0]) - at) ? j : best), 0);
    const [step, loss] = this.#smooth[i];
    for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, this.x(step));
    this.dot.setAttribute("cx", this.x(step));
    this.dot.setAttribute("cy", this.y(loss));
    for (const mark of [this.cursor, this.dot]) mark.setAttribute("visibility", "visible");
    setText(this.readout, t("train.plot.point", { step: step.toLocaleString(), loss: loss.toPrecision(4) }));
  }

  #unpoint() {
    for (const mark of [this.cursor, this.dot]) mark?.setAttribute("visibility", "hidden");
    setText(this.readout, "");
  }
}

// The canvas's toolbar and keys: which tools and actions there are, where they stand and when they mean something.

import { colourBox, fileButton, group, iconButton, slider } from "./canvas-bar.js";
import { h } from "./dom.js";
import { KEYS, meaning, spelled } from "./keys.js";
import { t } from "./words.js";

export const PICTURES = "image/*,.avif,.jp2,.tif,.tiff,.ppm,.pgm";
export const SIZES = { least: 1, most: 1024, step: 1.15 };
const TOOLS = ["brush", "eraser", "box", "lasso", "flood", "pick", "hand"];
/** Action -> the part of the bar without which its key means nothing. */
const PART_OF = { undo: "steps", redo: "steps", invert: "files", show: "files", clear: "change", smaller: "size", larger: "size" };
const ONLY_FOR_MASKS = ["invert", "grow", "shrink", "feather"];

export class Panel {
  /** `does`: action -> function; `choose(tool)`, `set(name, value)`, `pick(files)` and `pickMask(file)` are called. */
  constructor(settings, { does, choose, set, pick, pickMask }) {
    const button = (name, press) => iconButton(name, press, KEYS.canvas[name] ? spelled(KEYS.canvas[name][0]) : "");
    const act = (name) => button(name, () => does[name]());
    const setter = (name) => (value) => set(name, value);
    const other = fileButton("picture", PICTURES, pick);
    const upload = fileButton("upload", PICTURES, ([file]) => pickMask(file));
    const sizes = { min: 0, max: 100, value: toSlider(settings.size), show: (value) => `${fromSlider(value)} px` };
    this.size = slider("size", { ...sizes, oninput: (value) => set("size", fromSlider(value)) });
    this.edge = slider("edge", { min: 1, max: 64, value: settings.edge, show: (value) => `${value} px`, oninput: setter("edge") });
    this.colour = colourBox("colour", settings.colour, setter("colour"));
    this.tools = Object.fromEntries(TOOLS.map((name) => [name, button(name, () => choose(name))]));
    this.undo = act("undo");
    this.redo = act("redo");
    this.last = act("last");
    this.show = act("show");
    this.parts = {
      tools: group("tools", ...Object.values(this.tools)),
      steps: group("steps", this.undo, this.redo),
      sight: group("sight", act("fit"), act("fullscreen"), other.button, other.input, act("remove")),
      size: h("div", { class: "easel-canvas-group" }, this.size.label, this.colour),
      change: group("change", act("invert"), act("clear"), act("grow"), act("shrink"), act("feather"), this.edge.label),
      files: group("files", upload.button, upload.input, act("download"), this.last, this.show),
      more: more(settings, set),
    };
    this.element = h("div", { class: "easel-canvas-bar", role: "toolbar", "aria-label": t("canvas.toolbar") }, ...Object.values(this.parts));
  }

  /** `over` is what is painted on, "mask", "paint" or null. */
  update({ isEmpty, over, hasTools, tool, isShown, canUndo, canRedo, hasLast }) {
    const isMask = over === "mask";
    this.element.hidden = isEmpty;
    this.parts.tools.hidden = this.parts.size.hidden = this.parts.more.hidden = !over || !hasTools;
    this.parts.steps.hidden = this.parts.change.hidden = !over;
    this.parts.files.hidden = this.edge.label.hidden = !isMask;
    for (const name of ONLY_FOR_MASKS) this.parts.change.querySelector(`[data-does="${name}"]`).hidden = !isMask;
    this.colour.hidden = this.tools.pick.hidden = over !== "paint";
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === tool));
    this.show.setAttribute("aria-pressed", String(isShown));
    this.undo.disabled = !canUndo;
    this.redo.disabled = !canRedo;
    this.last.disabled = !hasLast;
  }

  showSize(size) {
    this.size.set(toSlider(size));
  }

  /** The action or tool that a key means right now, or null. */
  meant(event) {
    const name = meaning("canvas", event);
    const isHidden = this.parts[PART_OF[name]]?.hidden || this.tools[name]?.hidden || (TOOLS.includes(name) && this.parts.tools.hidden);
    return name && !this.element.hidden && !isHidden ? name : null;
  }
}

export const isTool = (name) => TOOLS.includes(name);

/** What is set once and seldom again. */
function more(settings, set) {
  const tolerance = slider("tolerance", { min: 0, max: 128, value: settings.tolerance, show: String, oninput: (value) => set("tolerance", value) });
  const percent = (value) => `${Math.round(value * 100)} %`;
  const opacity = slider("opacity", { min: 0.1, max: 1, step: 0.05, value: settings.opacity, show: percent, oninput: (value) => set("opacity", value) });
  const colour = colourBox("mask_colour", settings.maskColour, (value) => set("maskColour", value));
  const pressure = h("input", { type: "checkbox", checked: settings.pressure, onchange: () => set("pressure", pressure.checked) });
  return h(
    "details",
    { class: "easel-canvas-more" },
    h("summary", {}, t("canvas.more")),
    h("div", {}, tolerance.label, opacity.label, h("label", {}, colour, t("canvas.mask_colour")), h("label", {}, pressure, t("canvas.pressure"))),
  );
}

/** The slider's 0 to 100 are spread so that small sizes have room. */
const fromSlider = (value) => Math.max(SIZES.least, Math.round((value / 100) ** 2 * SIZES.most));
const toSlider = (size) => Math.sqrt(size / SIZES.most) * 100;

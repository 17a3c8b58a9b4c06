// The canvas's buttons: icons, names and keys. What they do is told by whoever builds them.

import { h } from "./dom.js";
import { t } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Drawn on 24 × 24 with a line of 2. */
const ICONS = {
  brush: "M20 4 10.500 13.500M9 14c-3 0-4 2-4 4 0 1-1 2-2 2 3 1.500 9 1 9-3 0-1.500-1.500-3-3-3",
  eraser: "M13 20h8M5 15 15 5l5 5-9 10H8l-4-4z M10 10l6 5",
  box: "M4 5h16v14H4z",
  lasso: "M12 4c5 0 9 2.500 9 6s-4 6-9 6-9-2.500-9-6 4-6 9-6M7 15c-2 1.500-2 4 0 4s2 1 1 2",
  flood: "M5 21 16 10M15 4v3M20 9h-3M19 5l-2 2M12 6l1.500 1.500M19 13l-1.500-1.500",
  pick: "M4 20v-3L13 8l3 3-9 9zM12 7l5 5M15 6l2-2c1-1 4 2 3 3l-2 2",
  hand: "M12 3v18M3 12h18M12 3 9.500 5.500M12 3l2.500 2.500M12 21l-2.500-2.500M12 21l2.500-2.500M3 12l2.500-2.500M3 12l2.500 2.500M21 12l-2.500-2.500M21 12l-2.500 2.500",
  undo: "M4 10h10a6 6 0 0 1 0 12h-4M4 10l5-5M4 10l5 5",
  redo: "M20 10H10a6 6 0 0 0 0 12h4M20 10l-5-5M20 10l-5 5",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  fullscreen: "M14 10 21 3M15 3h6v6M10 14 3 21M3 15v6h6",
  invert: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  clear: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14M10 11v6M14 11v6",
  grow: "M8 8h8v8H8zM12 5V2M12 22v-3M5 12H2M22 12h-3",
  shrink: "M4 4h16v16H4zM12 6v4M12 14v4M6 12h4M14 12h4",
  feather: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6M12 4v1M12 19v1M4 12h1M19 12h1M6.500 6.500l.7.7M16.800 16.800l.7.7M6.500 17.500l.7-.7M16.800 7.200l.7-.7",
  upload: "M12 16V4M12 4 7 9M12 4l5 5M4 20h16",
  download: "M12 4v12M12 16l-5-5M12 16l5-5M4 20h16",
  last: "M4 5v5h5M4.500 10a8 8 0 1 1-.500 4M12 8v5l3 2",
  show: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  picture: "M4 4h16v16H4zM4 16l5-5 4 4 3-3 4 4M15 8.500v.010",
  remove: "M5 5l14 14M19 5 5 19",
};

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon, read out and shown as `canvas.<name>`, with its key when it has one. */
export function iconButton(name, press, key = "") {
  const words = t(`canvas.${name}`);
  const attributes = { type: "button", class: "easel-canvas-button", "data-does": name, "aria-label": words, title: key ? `${words} (${key})` : words };
  return h("button", { ...attributes, "aria-keyshortcuts": ariaKey(key), onclick: press }, icon(name));
}

const ariaKey = (key) => (key ? key.replace(/Ctrl/, "Control").replace("⌘", "Meta").replaceAll(" ", "") : null);

export const group = (name, ...children) => h("div", { role: "group", class: "easel-canvas-group", "aria-label": t(`canvas.${name}`) }, ...children);

/** A slider with its name, and the number it stands for behind it. */
export function slider(name, { min, max, step = 1, value, show, oninput }) {
  const output = h("output", {}, show(value));
  const input = h("input", { type: "range", min: String(min), max: String(max), step: String(step), value: String(value) });
  const label = h("label", { class: "easel-canvas-slider", title: t(`canvas.${name}`) }, h("span", {}, t(`canvas.${name}`)), input, output);
  const tell = () => (output.textContent = show(Number(input.value)));
  input.addEventListener("input", () => {
    oninput(Number(input.value));
    tell();
  });
  return {
    label,
    set(next) {
      input.value = String(next);
      tell();
    },
  };
}

export function colourBox(name, value, oninput) {
  const words = t(`canvas.${name}`);
  return h("input", { type: "color", value, oninput: ({ target }) => oninput(target.value), "aria-label": words, title: words });
}

/** A button that opens the list of files. */
export function fileButton(name, accept, choose) {
  const input = h("input", { type: "file", accept, class: "easel-sr", tabindex: "-1", "aria-hidden": "true" });
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";  // the same file may be chosen again
    if (files.length) choose(files);
  });
  const button = iconButton(name, () => input.click());
  return { button, input };
}

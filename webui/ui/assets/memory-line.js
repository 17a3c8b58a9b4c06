// The second line under Generate: how much memory the form's pictures need, amber where it is tight, red where it lacks.

import { h, setText } from "./dom.js";
import { inBytes } from "./models-grid.js";
import { t } from "./words.js";

const TIGHT = 0.75;  // of what is there; the prediction is good to a factor of two
const SMALL = 0.1;  // below this share nobody needs to know

/** `memory`: {bytes, available} as the server tells it, or null. */
export function showMemory(kind, memory) {
  const button = document.getElementById(`${kind}_generate`);
  if (!button) return;
  const line = document.getElementById(`${kind}_memory`) ?? h("p", { class: "easel-estimate easel-memory", id: `${kind}_memory`, role: "status" });
  if (!line.isConnected) (document.getElementById(`${kind}_estimate`) ?? button).after(line);
  const share = memory ? memory.bytes / memory.available : 0;
  const state = share >= 1 ? "lacking" : share >= TIGHT ? "tight" : "enough";
  line.dataset.state = state;
  const words = { needed: inBytes(memory?.bytes ?? 0), there: inBytes(memory?.available ?? 0) };
  setText(line, share < SMALL ? "" : t(`memory.${state}`, words));
}

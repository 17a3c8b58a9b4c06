// Ctrl+Z and Ctrl+Y outside of texts: the form of the open tab as it was a change ago. Inside a text, and on the canvas,
// the same keys belong to these.

import { putIntoForm, unfit, valuesNow } from "./form.js";
import { canStep, takeStep } from "./form-history.js";
import { meaning } from "./keys.js";
import { isTabOpen } from "./tabs.js";
import { toast } from "./toast.js";
import { t } from "./words.js";

const KINDS = ["txt2img", "img2img", "extras"];
const DIRECTIONS = { undo: -1, redo: 1 };
const OWN_UNDO = "textarea, select, [contenteditable], easel-canvas, dialog, input:not([type=range], [type=checkbox], [type=radio])";

const openKind = () => KINDS.find((kind) => isTabOpen(`tab_${kind}`));

/** `name` is undo or redo. */
export const canStepForm = (name) => Boolean(openKind()) && canStep(openKind(), DIRECTIONS[name]);

export function stepForm(name) {
  const kind = openKind();
  const taken = kind && takeStep(kind, DIRECTIONS[name], valuesNow(kind), (values) => unfit(kind, values));
  if (!taken) return toast(t(`form.${name}.nothing`));
  return putIntoForm(kind, taken.values, taken.branch);
}

export function listenToUndo() {
  document.addEventListener("keydown", (event) => {
    const name = meaning("page", event);
    if (event.defaultPrevented || !(name in DIRECTIONS) || event.target.closest?.(OWN_UNDO) || !openKind()) return;
    event.preventDefault();
    void stepForm(name);
  });
}

// Brings a control of any tab before the reader: opens its tab, unfolds its headings, scrolls to it, focuses it.

import { isTabOpen, openTab, whenThere } from "./tabs.js";
import { toast } from "./toast.js";
import { t } from "./words.js";

const SETTLED_AFTER = 350;  // ms in which Gradio draws what it has unfolded once more
const MOST_TRIES = 4;
const FOUND_FOR = 1600;
const FOCUSABLE = "textarea, select, input:not([type=hidden]), button";

/** `control` as in webui/ui/palette.py. Resolves to what has the focus now, or null when it is not shown at present. */
export async function reach({ element, label, inside }) {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (let tries = 0; tries < MOST_TRIES && !(await openAll(inside)); tries += 1) await pause(SETTLED_AFTER);
  const box = await whenThere(byId(element));
  const target = box.matches(FOCUSABLE) ? box : [...box.querySelectorAll(FOCUSABLE)].find((each) => each.offsetParent);
  if (!target?.offsetParent) {
    toast(t("palette.not_shown", { name: t(label) }));
    return null;
  }
  box.scrollIntoView({ block: "center" });
  target.focus({ preventScroll: true });
  box.classList.add("easel-found");
  setTimeout(() => box.classList.remove("easel-found"), FOUND_FOR);
  return target;
}

const byId = (id) => `[id="${CSS.escape(id)}"]`;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** True when all of them were open already, and so will stay: what Gradio has just drawn may be drawn again, folded. */
async function openAll(ids) {
  let wereOpen = true;
  for (const id of ids) wereOpen = (await open(id)) && wereOpen;
  return wereOpen;
}

/** Open a tab or unfold a heading; false when it was not open. */
async function open(id) {
  if (id.startsWith("tab_")) {
    if (isTabOpen(id)) return true;
    openTab(id);
    return false;
  }
  const heading = await whenThere(`${byId(id)} > .label-wrap`);
  if (heading.classList.contains("open")) return true;
  heading.click();
  return false;
}

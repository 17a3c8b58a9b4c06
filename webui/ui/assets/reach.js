// Brings a control of any tab before the reader: opens its tab, unfolds its headings, scrolls to it, focuses it.

import { openTab, whenThere } from "./tabs.js";
import { toast } from "./toast.js";
import { t } from "./words.js";

const SETTLED_AFTER = 350;  // ms in which Gradio draws what it has unfolded once more
const FOUND_FOR = 1600;
const FOCUSABLE = "textarea, select, input:not([type=hidden]), button";

/** `control` as in webui/ui/palette.py. Resolves to what has the focus now, or null when it is not shown at present. */
export async function reach({ element, label, inside }) {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  let isSettled = true;
  for (const id of inside) isSettled = (await open(id)) && isSettled;
  let box = await whenThere(byId(element));
  if (!isSettled) {
    await new Promise((resolve) => setTimeout(resolve, SETTLED_AFTER));
    box = await whenThere(byId(element));
  }
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

/** Open a tab or unfold a heading; false when it was not open. */
async function open(id) {
  if (id.startsWith("tab_")) {
    if (document.getElementById(`${id}-button`)?.getAttribute("aria-selected") === "true") return true;
    openTab(id);
    return false;
  }
  const heading = await whenThere(`${byId(id)} > .label-wrap`);
  if (heading.classList.contains("open")) return true;
  heading.click();
  return false;
}

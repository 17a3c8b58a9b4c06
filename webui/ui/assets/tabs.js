// Which of the page's tabs is open: a reload opens the same one again. Gradio draws and switches them.

import { tab } from "./storage.js";
import { t } from "./words.js";

const BUTTON = '#easel_tabs [role="tab"][id$="-button"]';  // and no tabs inside the tabs
const MENU = "#easel_tabs .overflow-dropdown button";

export function rememberTab() {
  document.addEventListener("click", ({ target, isTrusted }) => {
    const button = isTrusted && target.closest?.(BUTTON);
    if (button) tab.set("tab", button.id);
  });
  const id = tab.get("tab");
  if (typeof id === "string") open(id);
}

let labels = {};

/** Element id -> label of each tab. Where the window is narrow, Gradio puts tabs into a menu that knows the label only. */
export const knowTabs = (told) => (labels = told);

/** Open the tab with this element id. */
export function openTab(id) {
  const inMenu = () => [...document.querySelectorAll(MENU)].find((each) => id in labels && each.textContent.trim() === t(labels[id]));
  (document.getElementById(`${id}-button`) ?? inMenu())?.click();
}

export const isTabOpen = (id) => Boolean(document.getElementById(id)?.offsetParent);

/** The element, as soon as it is on the page: Gradio draws a tab when it is opened for the first time. */
export function whenThere(selector) {
  const found = document.querySelector(selector);
  if (found) return Promise.resolve(found);
  return new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      const element = document.querySelector(selector);
      if (!element) return;
      observer.disconnect();
      resolve(element);
    });
    observer.observe(document.body, { childList: true, subtree: true });
  });
}

/** Gradio draws its buttons some time after this script has started. */
function open(id) {
  const press = () => {
    const button = [...document.querySelectorAll(BUTTON)].find((each) => each.id === id);
    if (button) button.click();
    return Boolean(button);
  };
  if (press()) return;
  const observer = new MutationObserver(() => press() && observer.disconnect());
  observer.observe(document.body, { childList: true, subtree: true });
}

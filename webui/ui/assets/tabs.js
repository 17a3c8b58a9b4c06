// Which of the page's tabs is open: a reload opens the same one again. Gradio draws and switches them.

import { tab } from "./storage.js";

const BUTTON = '#easel_tabs [role="tab"][id$="-button"]';  // and no tabs inside the tabs

export function rememberTab() {
  document.addEventListener("click", ({ target, isTrusted }) => {
    const button = isTrusted ? target.closest?.(BUTTON) : null;
    if (!button) return;
    tab.set("tab", button.id);
    button.scrollIntoView({ block: "nearest", inline: "center" });
  });
  const id = tab.get("tab");
  if (typeof id === "string") open(id);
}

/** Open the tab with this element id. */
export function openTab(id) {
  const button = document.getElementById(`${id}-button`);
  button?.click();
  button?.scrollIntoView({ block: "nearest", inline: "center" });  // on a phone the row is wider than the page
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

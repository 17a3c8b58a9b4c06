// Which of the page's tabs is open: a reload opens the same one again. Gradio draws and switches them.

import { tab } from "./storage.js";

const BUTTON = '#easel_tabs [role="tab"]';

export function rememberTab() {
  document.addEventListener("click", ({ target, isTrusted }) => {
    const button = isTrusted && target.closest?.(BUTTON);
    if (button) tab.set("tab", button.id);
  });
  const id = tab.get("tab");
  if (typeof id === "string") open(id);
}

/** Open the tab that webui/ui/page.py calls `tab_<name>`, if there is one. */
export function openTab(name) {
  const button = document.getElementById(`tab_${name}-button`);
  if (!button) return;
  button.click();
  tab.set("tab", button.id);
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

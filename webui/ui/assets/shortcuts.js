// Keys that work anywhere on the page (the list is in keys.js) and press a button of the open tab.

import { meaning } from "./keys.js";

const isOpen = () => document.querySelector("dialog[open], ul[role=listbox]:not([hidden]), [role=dialog]:not([hidden])");
/** Escape closes what it was pressed in before it stops any work. */
const isInPanel = ({ target }) => target.closest?.("[data-keeps-escape]");
const BUTTONS = ["generate", "interrupt", "skip"];

/** `tabs` begin the ids of the buttons; the tab that is open is meant. */
export function listenToKeys(tabs) {
  document.addEventListener(
    "keydown",
    (event) => {
      const id = idFor(event);
      const button = id && tabs.map((tab) => document.getElementById(`${tab}_${id}`)).find((each) => each?.offsetParent);
      if (!button || button.disabled || button.hidden) return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) button.click();  // a key held down is one command
    },
    { capture: true },
  );
}

function idFor(event) {
  const name = meaning("page", event);
  if (!BUTTONS.includes(name) || document.querySelector("dialog[open]")) return null;
  return name === "interrupt" && (isOpen() || isInPanel(event)) ? null : name;
}

// Keys that work anywhere on the page: Ctrl/Cmd+Enter generates, Esc stops, Alt+Enter skips.

const isOpen = () => document.querySelector("dialog[open], ul[role=listbox]:not([hidden]), [role=dialog]:not([hidden])");
/** Escape closes what it was pressed in before it stops any work. */
const isInPanel = ({ target }) => target.closest?.("[data-keeps-escape]");

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
  if (event.isComposing) return null;  // Enter that ends a Korean syllable is not a command
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return "generate";
  if (event.key === "Enter" && event.altKey) return "skip";
  if (event.key === "Escape" && !isOpen() && !isInPanel(event)) return "interrupt";
  return null;
}

// Keys that work anywhere on the page: Ctrl/Cmd+Enter generates, Esc stops, Alt+Enter skips.

const isOpen = () => document.querySelector("dialog[open], ul[role=listbox]:not([hidden]), [role=dialog]:not([hidden])");
/** Escape closes what it was pressed in before it stops any work. */
const isInPanel = ({ target }) => target.closest?.("[data-keeps-escape]");

export function listenToKeys(kind) {
  document.addEventListener(
    "keydown",
    (event) => {
      const id = idFor(event);
      const button = id && document.getElementById(`${kind}_${id}`);
      if (!button || button.disabled || button.hidden || !button.offsetParent) return;  // another tab is open
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

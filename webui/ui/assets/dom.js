// Building elements. Text always arrives as text: nothing here or elsewhere in the page parses markup from data.

const SURE_FOR = 4000;  // ms in which a second press counts

/** h("button", {class: "x", onclick: f, hidden: true, "aria-label": "…"}, "text", node, null): a new element. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function set(element, name, value) {
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (typeof value === "boolean") element.toggleAttribute(name, value);
  else if (value !== null && value !== undefined) element.setAttribute(name, value);
}

/** Change text only when it differs, so that selections and screen readers are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Rebuild the children of an element only when `key` differs from the last time. */
export function renewed(element, key, build) {
  const signature = JSON.stringify(key);
  if (element.easelKey === signature) return;
  element.easelKey = signature;
  element.replaceChildren(...[build()].flat().filter(Boolean));
}

/** A button that destroys something asks once more: true at the second press within a few seconds. */
export function isSure(button, words, question) {
  clearTimeout(button.easelAsked);
  const settle = () => {
    delete button.dataset.sure;
    setText(button, words);
  };
  if (button.dataset.sure) {
    settle();
    return true;
  }
  button.dataset.sure = "asked";
  setText(button, question);
  button.easelAsked = setTimeout(settle, SURE_FOR);
  return false;
}

/** The clipboard API exists on secure pages only; a selected text area works everywhere. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "easel-sr" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

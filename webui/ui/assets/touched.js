// Which controls the reader has changed by hand since the page opened. What was remembered comes back a moment after
// the controls appear, and must not go over what was typed in that moment.

const CHANGES = ["input", "change"];
const touched = new Set();

function note({ isTrusted, target }) {
  if (!isTrusted) return;
  for (let node = target; node; node = node.parentElement) if (node.id) touched.add(node.id);
}

for (const type of CHANGES) document.addEventListener(type, note, { capture: true });
// A choice in Gradio's list is a press on an option and changes no input that would say so.
document.addEventListener("mousedown", (event) => event.target.closest?.("[role=option]") && note(event), { capture: true });

export const isTouched = (element) => touched.has(element);

/** For Gradio: `value` for a control, and nothing new for one that the reader has changed. */
export function unlessTouched(element, value) {
  if (!isTouched(element)) return value;
  if (value?.__type__ !== "update") return { __type__: "update" };
  const { value: _dropped, ...rest } = value;
  return rest;
}

// What the page holds, as webui/ui/palette.py has told: every control, and the headings around it.

let page = { controls: [], headings: {} };

/** Gradio's load event. */
export function startPalette(contents) {
  page = contents;
  return [];
}

/** [{element, label, inside, role}], in the order of the page. */
export const pageControls = () => page.controls;

/** Element id of a tab or folded heading -> its label. */
export const pageHeadings = () => page.headings;

/** Labels of the folded headings around a control, outermost first; the tab is left out. */
export function labelsAround(element) {
  const { inside = [] } = page.controls.find((control) => control.element === element) ?? {};
  return inside.slice(1).map((id) => page.headings[id]);
}

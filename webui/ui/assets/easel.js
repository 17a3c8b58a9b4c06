// The page's own script: starts everything, and is what Gradio's events import (webui/ui/form.py).

import { book } from "./jobs.js";
import * as result from "./result.js";
import { listenToKeys } from "./shortcuts.js";
import * as status from "./status.js";

export { fillForm, putIntoForm, refreshCheckpoints, resetForm, reuseSeed, saveForm, startForm, submitForm } from "./form.js";
export { book } from "./jobs.js";

book.open();
result.define();
status.define();
status.followInTitle();
listenToKeys("txt2img");

// Icon buttons are named by their text, which is not painted; a pointer gets it as a tooltip.
document.addEventListener("pointerover", ({ target }) => {
  const tool = target.closest?.(".easel-tool");
  if (tool) tool.title = tool.textContent.trim();
});

// The page's own script: starts everything, and is what Gradio's events import (webui/ui/form.py).

import * as canvas from "./canvas.js";
import * as dataset from "./dataset.js";
import { acceptPictures } from "./drop.js";
import { estimateTime } from "./estimate.js";
import * as extensions from "./extensions.js";
import * as extras from "./extras.js";
import * as pictures from "./gallery-tab.js";
import { book } from "./jobs.js";
import { followModels } from "./model-lists.js";
import * as pngInfo from "./png-info.js";
import { announceEnds } from "./notify.js";
import { listenToPalette } from "./palette.js";
import { listenInPrompts } from "./prompt-keys.js";
import { countPrompts } from "./prompt-tokens.js";
import * as queue from "./queue.js";
import * as result from "./result.js";
import { listenToKeys } from "./shortcuts.js";
import * as runs from "./runs.js";
import * as scriptForm from "./script-form.js";
import * as source from "./source.js";
import * as status from "./status.js";
import * as styles from "./styles.js";
import { rememberTab } from "./tabs.js";
import * as trainForm from "./train-form.js";
import * as training from "./training.js";

export {
  fillForm, putIntoForm, refreshCheckpoints, reloadCheckpoints, resetForm, reuseSeed, saveForm, startForm, submitForm,
} from "./form.js";
export { reloadModelLists } from "./model-lists.js";
export { startPalette } from "./palette-entries.js";
export { reloadUpscalers, submitExtras } from "./extras.js";
export { sizeOfSource, submitSource } from "./source.js";
export { fillTraining, followTraining, saveTraining, startTraining, submitTraining } from "./train-form.js";
export { book } from "./jobs.js";

book.open();
queue.define();
result.define();
runs.define();
scriptForm.define();
canvas.define();
source.define();
extras.define();
styles.define();
dataset.define();
trainForm.define();
training.define();
extensions.define();
pictures.define();
pngInfo.define();
acceptPictures();
rememberTab();
status.define();
status.followInTitle();
followModels(["txt2img", "img2img"]);
listenToKeys(["txt2img", "img2img", "extras"]);
listenToPalette();
announceEnds();
listenInPrompts();
for (const tab of ["txt2img", "img2img"]) countPrompts(tab);
for (const tab of ["txt2img", "img2img"]) estimateTime(tab);

// Icon buttons are named by their text, which is not painted; a pointer gets it as a tooltip.
document.addEventListener("pointerover", ({ target }) => {
  const tool = target.closest?.(".easel-tool");
  if (tool) tool.title = tool.textContent.trim();
});

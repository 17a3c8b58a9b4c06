// The page's own script: starts everything, and is what Gradio's events import (webui/ui/form.py).

import * as branch from "./branch.js";
import * as canvas from "./canvas.js";
import { listenToCompare } from "./compare.js";
import * as dataset from "./dataset.js";
import { acceptPictures } from "./drop.js";
import { estimateTime } from "./estimate.js";
import * as extensions from "./extensions.js";
import * as extras from "./extras.js";
import * as pictures from "./gallery-tab.js";
import { listenToUndo } from "./form-undo.js";
import { handOver } from "./handover.js";
import { book } from "./jobs.js";
import { followModels } from "./model-lists.js";
import * as models from "./models-tab.js";
import * as pngInfo from "./png-info.js";
import { announceEnds } from "./notify.js";
import { followOptions, option } from "./options.js";
import { listenToPalette } from "./palette.js";
import * as presets from "./presets.js";
import { listenInPrompts } from "./prompt-keys.js";
import { offerNames } from "./prompt-names.js";
import { countPrompts } from "./prompt-tokens.js";
import * as queue from "./queue.js";
import * as quick from "./quick.js";
import * as result from "./result.js";
import { listenToKeys } from "./shortcuts.js";
import * as runs from "./runs.js";
import * as scriptForm from "./script-form.js";
import * as settings from "./settings.js";
import * as source from "./source.js";
import * as status from "./status.js";
import * as styles from "./styles.js";
import * as system from "./system.js";
import { rememberTab } from "./tabs.js";
import * as trainForm from "./train-form.js";
import * as training from "./training.js";
import * as wildcards from "./wildcards.js";

export {
  fillForm, putIntoForm, refreshCheckpoints, reloadCheckpoints, resetForm, reuseSeed, saveForm, startForm, submitForm,
} from "./form.js";
export { reloadModelLists } from "./model-lists.js";
export { startPalette } from "./page-contents.js";
export { reloadUpscalers, submitExtras } from "./extras.js";
export { sizeOfSource, submitSource } from "./source.js";
export { fillTraining, followTraining, saveTraining, startTraining, submitTraining } from "./train-form.js";
export { book } from "./jobs.js";

book.open();
followOptions();
queue.define();
result.define();
runs.define();
scriptForm.define();
branch.define();
listenToCompare();
canvas.define();
source.define();
extras.define();
styles.define();
wildcards.define();
dataset.define();
trainForm.define();
training.define();
extensions.define();
settings.define();
system.define();
presets.define();
quick.define();
pictures.define();
models.define();
pngInfo.define();
acceptPictures();
rememberTab();
status.define();
status.followInTitle();
followModels(["txt2img", "img2img"]);
listenToKeys(["txt2img", "img2img", "extras"]);
listenToPalette();
listenToUndo();
handOver();
announceEnds();
listenInPrompts();
offerNames();
if (option("count_tokens") ?? true) for (const tab of ["txt2img", "img2img"]) countPrompts(tab);
for (const tab of ["txt2img", "img2img"]) estimateTime(tab);

// Icon buttons are named by their text, which is not painted; a pointer gets it as a tooltip.
document.addEventListener("pointerover", ({ target }) => {
  const tool = target.closest?.(".easel-tool");
  if (tool) tool.title = tool.textContent.trim();
});

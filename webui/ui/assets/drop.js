// A picture dropped onto a prompt fills that form with what the picture says; one dropped beside everything is read in
// the PNG info tab instead of replacing the page. Parameters pasted as text into a prompt are offered to the form.

import { readPicture, readText } from "./gallery-list.js";
import { showPicture } from "./png-info.js";
import { sendTo } from "./send.js";
import { server, ServerError } from "./server.js";
import { toast } from "./toast.js";
import { sentence, t } from "./words.js";

const PROMPT = /^(txt2img|img2img)_(?:neg_)?prompt$/;
const PARAMETERS = /^Steps: \d+, .*\b(?:Sampler|Seed|Size): /m;

/** Kind of the form whose prompt box holds the element. */
function kindOf(element) {
  const box = element?.closest?.('[id$="_prompt"]');
  return box ? PROMPT.exec(box.id)?.[1] : undefined;
}

const hasFile = ({ dataTransfer }) => dataTransfer?.types.includes("Files") || dataTransfer?.types.includes("text/uri-list");

/** The file that is dropped, or the picture of this page that is dragged. */
async function fileOf(dataTransfer) {
  const [file] = dataTransfer.files;
  const address = dataTransfer.getData("text/uri-list");
  if (file || !address.startsWith(server(""))) return file;
  const answer = await fetch(address);
  return answer.ok ? answer.blob() : undefined;
}

async function fill(kind, ask) {
  try {
    const info = await ask();
    if (Object.keys(info.values).length) sendTo(kind, info.values);
    if (info.told) toast(sentence(info.told));
    else toast(t("drop.filled", { tool: info.tool || t("info.no_tool") }));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    toast(error.told ? sentence(error.told) : t("error.Unreachable"));
  }
}

async function dropped(event) {
  const kind = kindOf(event.target);
  const isText = !hasFile(event) || (event.target.closest?.("input, textarea") && !kind);
  if (event.defaultPrevented || isText) return;
  event.preventDefault();
  const file = await fileOf(event.dataTransfer);
  if (!file) return;
  if (kind) return void fill(kind, () => readPicture(file));
  void showPicture(file);
}

function pasted({ target, clipboardData }) {
  const text = clipboardData?.getData("text/plain") ?? "";
  const kind = kindOf(target);
  if (!kind || !PARAMETERS.test(text)) return;
  toast(t("drop.parameters"), { words: t("drop.fill"), run: () => fill(kind, () => readText(text)) });
}

export function acceptPictures() {
  // Capture for prompts, where Gradio would take the drop as text; the rest only when nobody else has taken it.
  const onPrompt = (then) => (event) => kindOf(event.target) && hasFile(event) && then(event);
  const hold = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener("dragover", onPrompt(hold), { capture: true });
  document.addEventListener("drop", onPrompt((event) => {
    event.stopPropagation();
    void dropped(event);
  }), { capture: true });
  document.addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => void dropped(event));
  document.addEventListener("paste", pasted);
}

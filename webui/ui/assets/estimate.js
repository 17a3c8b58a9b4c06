// The line under Generate: how long the form's pictures would take on this machine, before anybody asks for them; with a
// script also how many there will be.

import { h, setText } from "./dom.js";
import { drafted, ofKind } from "./form.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { duration } from "./progress.js";
import { chosenScript, loadScripts, titleOf } from "./scripts.js";
import { estimateJob, planRun, ServerError } from "./server.js";
import { sentence, t } from "./words.js";

const DELAY = 600;

/** Tell the time for a form from now on. */
export function estimateTime(kind) {
  const state = { kind, timer: 0, asked: 0, running: new Set() };
  const soon = () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(() => void ask(state), DELAY);
  };
  for (const event of ["easel-form", "easel-script"]) document.addEventListener(event, ({ detail }) => detail.kind === kind && soon());
  book.addEventListener("change", () => somethingEnded(state) && soon());
}

/** Whether a job is over that was not: what it took is known now. */
function somethingEnded(state) {
  const before = state.running;
  state.running = new Set(book.everything.filter((job) => !isFinal(job) && !isTraining(job)).map(({ id }) => id));
  return [...before].some((id) => !state.running.has(id));
}

async function ask(state) {
  const turn = (state.asked += 1);
  let words = "";
  try {
    words = await said(state.kind);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    // What is impossible is told when it is sent; of a script, while it is set up.
    if (chosenScript(state.kind) && error.told) words = sentence(error.told);
  }
  if (turn === state.asked) show(state.kind, words);
}

/** Pictures with a script, seconds as far as they are known; nothing where nothing is. */
async function said(kind) {
  const values = drafted(kind);
  if (!Object.keys(values).length) return "";
  const script = chosenScript(kind);
  if (!script) return kind === "txt2img" ? time((await estimateJob(kind, values)).seconds) : "";
  await loadScripts();
  const { pictures, seconds } = await planRun(kind, ofKind(kind, kind, values), chosenScript(kind));
  const title = titleOf(script.script);
  const shown = sentence({ text: title, template: title, values: {} });
  const what = pictures === null ? shown : t("script.plan", { title: shown, n: pictures });
  return [what, time(seconds)].filter(Boolean).join(" · ");
}

const time = (seconds) => (seconds === null ? "" : t("estimate.takes", { time: duration(Math.max(0.1, seconds)) }));

function show(kind, words) {
  const button = document.getElementById(`${kind}_generate`);
  if (!button) return;
  const line = document.getElementById(`${kind}_estimate`) ?? h("p", { class: "easel-estimate", id: `${kind}_estimate` });
  if (line.previousElementSibling !== button) button.after(line);
  setText(line, words);
}

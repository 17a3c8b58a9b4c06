// The line under Generate: how long the form's pictures would take on this machine, before anybody asks for them.

import { h, setText } from "./dom.js";
import { drafted } from "./form.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { duration } from "./progress.js";
import { showMemory } from "./memory-line.js";
import { estimateJob, ServerError } from "./server.js";
import { t } from "./words.js";

const DELAY = 600;

/** Tell the time for a form from now on. */
export function estimateTime(kind) {
  const state = { kind, timer: 0, asked: 0, seconds: null, running: new Set() };
  const soon = () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(() => void ask(state), DELAY);
  };
  document.addEventListener("easel-form", ({ detail }) => detail.kind === kind && soon());
  book.addEventListener("change", () => somethingEnded(state) && soon());
}

/** Whether a job is over that was not: what it took is known now. */
function somethingEnded(state) {
  const before = state.running;
  state.running = new Set(book.everything.filter((job) => !isFinal(job) && !isTraining(job)).map(({ id }) => id));
  return [...before].some((id) => !state.running.has(id));
}

async function ask(state) {
  const values = drafted(state.kind);
  const turn = (state.asked += 1);
  let [seconds, memory] = [null, null];
  try {
    if (Object.keys(values).length) ({ seconds, memory } = await estimateJob(state.kind, values));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // what is impossible is told when it is sent
  }
  if (turn !== state.asked) return;
  show(state.kind, seconds);
  showMemory(state.kind, memory);
}

function show(kind, seconds) {
  const button = document.getElementById(`${kind}_generate`);
  if (!button) return;
  const line = document.getElementById(`${kind}_estimate`) ?? h("p", { class: "easel-estimate", id: `${kind}_estimate` });
  if (line.previousElementSibling !== button) button.after(line);
  setText(line, seconds === null ? "" : t("estimate.takes", { time: duration(Math.max(0.1, seconds)) }));
}

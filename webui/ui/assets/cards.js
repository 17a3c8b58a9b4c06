// Cards above the picture: what went wrong and what the reader should know; rows under it: the other jobs.

import { h, renewed, setText } from "./dom.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { line } from "./progress.js";
import { hasWord, sentence, t } from "./words.js";

const FAILURES_SHOWN = 3;

const title = (kind) => t(hasWord(`error.${kind}`) ? `error.${kind}` : "error.other");
const hint = (kind) => (hasWord(`hint.${kind}`) ? h("p", { class: "easel-hint" }, t(`hint.${kind}`)) : null);

/** A card for an error: what, why, what to do. `told` is the server's sentence; `again` and `dismiss` are optional. */
export function errorCard(kind, told, { again = null, dismiss = null } = {}) {
  return h(
    "div",
    { class: "easel-card easel-error", role: "alert" },
    h("strong", {}, title(kind)),
    told ? h("p", {}, sentence(told)) : null,
    hint(kind),
    h(
      "div",
      { class: "easel-actions" },
      again && h("button", { type: "button", class: "easel-button", onclick: again }, t("action.again")),
      dismiss && h("button", { type: "button", class: "easel-button", onclick: dismiss }, t("action.dismiss")),
    ),
  );
}

export function warningCards(warnings) {
  return warnings.map((told) => h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, sentence(told))));
}

/** One row for each job beside the one on the stage. Progress changes the text only: a button must survive a click. */
export function updateQueue(list, jobs) {
  list.hidden = jobs.length === 0;
  renewed(list, jobs.map(({ id, state }) => [id, state]), () => jobs.map(queueRow));
  jobs.forEach((job, i) => {
    const asked = book.asked.get(job.id);
    setText(list.children[i].querySelector(".easel-queue-state"), line(job, asked));
    for (const button of list.children[i].querySelectorAll("button")) button.disabled = button.dataset.action === asked;
  });
}

const queueRow = (job) =>
  h(
    "li",
    {},
    h("span", { class: "easel-queue-prompt" }, job.summary || t("gallery.no_prompt")),
    h("span", { class: "easel-queue-state" }),
    ...actionsOf(job).map((action) => queueButton(job, action)),
  );

/** Hours of training are not thrown away from here: stopping one for good is the Train tab's. */
const actionsOf = (job) =>
  isTraining(job) ? [job.state === "paused" ? "resume" : "pause"] : [...(job.state === "paused" ? ["resume"] : []), "cancel"];

function queueButton(job, action) {
  const attributes = { type: "button", class: "easel-button", "data-action": action };
  return h("button", { ...attributes, onclick: () => book.tell(job.id, action) }, t(`action.${action}`));
}

/** Failed jobs of this page that the reader has not put away, newest first; of other pages only the newest job. */
export function failures(jobs, dismissed) {
  const failed = jobs.filter((job) => job.error && isFinal(job) && !dismissed.has(job.id));
  return failed.filter((job) => book.isOwn(job.id) || job === jobs.at(-1)).reverse().slice(0, FAILURES_SHOWN);
}

/** Errors on display: refused requests first, one card for those of a batch that have the same reason, then failed jobs. */
export function errorCards(failed, dismiss, refused) {
  const refusals = alike(refused).map((same) => {
    const [{ values, error }] = same;
    return errorCard(error.kind, error.told, {
      again: values ? () => book.submitAgain(same) : null,
      dismiss: () => book.dismissRefusals(same),
    });
  });
  return [...refusals, ...failed.map((job) => failureCard(job, () => dismiss(job.id)))];
}

function alike(refused) {
  const groups = new Map();
  for (const refusal of refused) {
    const { values, error } = refusal;
    const reason = JSON.stringify([error.kind, error.message, Boolean(values)]);
    groups.set(reason, [...(groups.get(reason) ?? []), refusal]);
  }
  return [...groups.values()];
}

function failureCard(job, dismiss) {
  const again = () => {
    dismiss();  // what becomes of the new attempt is told by the new job
    void book.submit(job.kind, job.request);
  };
  return errorCard(job.error.kind, job.error, { again, dismiss });
}

// Cards above the picture: what went wrong, what the reader should know, and this page's other waiting jobs.

import { h } from "./dom.js";
import { book, isFinal } from "./jobs.js";
import { line } from "./progress.js";
import { hasWord, t } from "./words.js";

const title = (kind) => t(hasWord(`error.${kind}`) ? `error.${kind}` : "error.other");
const hint = (kind) => (hasWord(`hint.${kind}`) ? h("p", { class: "easel-hint" }, t(`hint.${kind}`)) : null);

/** A card for an error {kind, text}: what, why, what to do. `again` and `dismiss` are optional. */
export function errorCard(error, { again = null, dismiss = null } = {}) {
  return h(
    "div",
    { class: "easel-card easel-error", role: "alert" },
    h("strong", {}, title(error.kind)),
    error.text || error.message ? h("p", {}, error.text || error.message) : null,
    hint(error.kind),
    h(
      "div",
      { class: "easel-actions" },
      again && h("button", { type: "button", class: "easel-button", onclick: again }, t("action.again")),
      dismiss && h("button", { type: "button", class: "easel-button", onclick: dismiss }, t("action.dismiss")),
    ),
  );
}

export function warningCards(warnings) {
  return warnings.map((text) => h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, text)));
}

/** One row for each job that waits beside the one on the stage. */
export function queueRows(jobs) {
  return jobs.map((job) =>
    h(
      "li",
      {},
      h("span", { class: "easel-queue-prompt" }, job.request.prompt || t("gallery.no_prompt")),
      h("span", { class: "easel-queue-state" }, line(job, book.asked.get(job.id))),
      job.state === "paused" ? queueButton(job, "resume") : null,
      queueButton(job, "cancel"),
    ),
  );
}

const queueButton = (job, action) =>
  h("button", { type: "button", class: "easel-button", onclick: () => book.tell(job.id, action) }, t(`action.${action}`));

/** Errors on display: refused requests first, else the failure of the newest job. */
export function errorCards(jobs, dismissed, dismiss) {
  if (book.refused.length) {
    const again = ({ kind, values }) => (values ? () => book.submit(kind, values) : null);
    return book.refused.map((refusal) =>
      errorCard(refusal.error, { again: again(refusal), dismiss: () => book.dismissRefusals() }),
    );
  }
  const newest = jobs.at(-1);
  if (!newest?.error || !isFinal(newest) || dismissed.has(newest.id)) return [];
  const again = () => book.submit(newest.kind, newest.request);
  return [errorCard(newest.error, { again, dismiss: () => dismiss(newest.id) })];
}

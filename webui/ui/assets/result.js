// <easel-result kind="txt2img">: the stage with the live preview, progress and its buttons, cards, gallery, details.

import { BRANCHING } from "./branch.js";
import { errorCards, failures, updateQueue, warningCards } from "./cards.js";
import { comparePictures } from "./compare.js";
import { details } from "./details.js";
import { h, renewed, setText } from "./dom.js";
import { putPictureIntoForm } from "./form.js";
import { Gallery, picturesOf, pictureUrl } from "./gallery.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { valuesOfPicture } from "./picture-values.js";
import { line, percent } from "./progress.js";
import { tab } from "./storage.js";
import { Strip } from "./strip.js";
import { t } from "./words.js";

const ACTIONS = { interrupt: "cancel", skip: "skip", pause: "pause", resume: "resume" };
/** Button -> what, once asked for, leaves it without a meaning. */
const SETTLED_BY = {
  interrupt: ["cancel"],
  skip: ["skip", "pause", "cancel"],
  pause: ["pause", "cancel"],
  resume: ["resume", "cancel"],
};
const ANNOUNCED_EVERY = 25;  // percent

/** A tab that shows jobs of several kinds. */
const KINDS = { img2img: ["img2img", "inpaint"], extras: ["upscale"] };

class EaselResult extends HTMLElement {
  #chosen = null;  // id of the picture the reader picked; null follows the work
  #dismissed = new Set([tab.get("dismissed") ?? []].flat());
  #announced = "";
  #redraw = () => this.#scheduleUpdate();
  #follow = () => (this.#chosen = null);
  #scheduled = false;

  connectedCallback() {
    this.kind = this.getAttribute("kind");
    this.kinds = KINDS[this.kind] ?? [this.kind];
    if (!this.stage) this.#build();
    book.addEventListener("change", this.#redraw);
    book.addEventListener("submit", this.#follow);
    this.#update();
  }

  disconnectedCallback() {
    book.removeEventListener("change", this.#redraw);
    book.removeEventListener("submit", this.#follow);
  }

  /** For "reuse seed": that of the picture on display, else of the job at work, else of the newest picture. */
  get seed() {
    const entries = picturesOf(this.#jobs());
    return this.#entry(entries)?.picture.seed ?? this.job?.request.seed ?? entries[0]?.picture.seed ?? null;
  }

  #jobs() {
    return book.followed.filter((job) => this.kinds.includes(job.kind));
  }

  #build() {
    this.image = h("img", { class: "easel-picture", hidden: true });
    this.link = h("a", { target: "_blank", rel: "noopener", class: "easel-picture-link" }, this.image);
    this.notice = h("div", { class: "easel-notice" });
    this.stage = h("div", { class: "easel-stage" }, this.link, this.notice);
    this.fill = h("div", { class: "easel-bar-fill" });
    const range = { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": t("progress.label") };
    this.bar = h("div", { class: "easel-bar", ...range }, this.fill);
    this.text = h("span", { class: "easel-line" });
    this.buttons = Object.fromEntries(Object.keys(ACTIONS).map((name) => [name, this.#button(name)]));
    const row = h("div", { class: "easel-live-row" }, this.text, ...Object.values(this.buttons));
    this.live = h("div", { class: "easel-live" }, this.bar, row);
    this.cards = h("div", { class: "easel-cards" });
    this.queue = h("ul", { class: "easel-queue", "aria-label": t("queue.label") });
    this.gallery = new Gallery(this.kind, (id) => this.#choose(id));
    const branch = BRANCHING.includes(this.kind) ? (shown) => this.#branch(shown) : null;
    this.strip = new Strip(this.kind, { look: () => this.#update(), branch });
    this.details = h("div", { class: "easel-details" });
    this.speaker = h("p", { class: "easel-sr", "aria-live": "polite" });
    this.replaceChildren(this.cards, this.stage, this.strip.element, this.live, this.queue, this.gallery.element, this.details, this.speaker);
  }

  #button(name) {
    const press = () => this.job && book.tell(this.job.id, ACTIONS[name]);
    const attributes = { type: "button", class: "easel-button", id: `${this.kind}_${name}`, title: t(`action.${name}.title`) };
    return h("button", { ...attributes, onclick: press }, t(`action.${ACTIONS[name]}`));
  }

  #choose(id) {
    this.#chosen = id;
    this.#update();
  }

  /** Several frames of one moment make one update; a timer and not an animation frame, to work in hidden tabs. */
  #scheduleUpdate() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.#update();
    });
  }

  #update() {
    const jobs = this.#jobs();
    const active = jobs.filter((job) => !isFinal(job));
    this.job = active.find((job) => job.state === "running") ?? active.find((job) => job.state === "queued") ?? active.at(-1);
    const entries = picturesOf(jobs);
    const entry = this.#entry(entries);
    this.strip.update(entry ? { id: entry.picture.id, source: pictureUrl(entry.picture) } : null);
    this.#updateStage(entry);
    this.#updateLive();
    this.#updateCards(jobs);
    this.gallery.update(entries, entry?.picture.id ?? null);
    const compare = entries.length > 1 ? () => this.compare() : null;
    renewed(this.details, entry ? [entry.picture.id, entry.job.timings, Boolean(compare)] : null, () => (entry ? details(this.kind, entry, compare) : []));
    this.#announce(jobs);
  }

  /** Whether there are two pictures to compare. */
  get canCompare() {
    return picturesOf(this.#jobs()).length > 1;
  }

  /** The picture on display, or the newest, beside the one before it. */
  compare() {
    const entries = picturesOf(this.#jobs());
    const at = Math.max(0, entries.indexOf(this.#entry(entries)));
    const sides = entries.map(({ picture, job }) => ({ ...picture, title: job.summary }));
    comparePictures([sides[at + 1] ?? sides[at - 1], sides[at]], sides);
  }

  /** The form goes on from a step of the picture on display: its values, and the branch, are put in. */
  #branch({ step, preview }) {
    const from = valuesOfPicture(this.#entry(picturesOf(this.#jobs())));
    putPictureIntoForm(this.kind, { ...from, batch_count: 1, batch_size: 1, branch_step: step, branch_from: from }, preview);
    document.querySelector(`#${this.kind}_prompt textarea`)?.focus();
  }

  /** The picture to show instead of the live preview: the chosen one, or the newest when nothing is being made. */
  #entry(entries) {
    const chosen = entries.find(({ picture }) => picture.id === this.#chosen);
    const isWorking = this.job && this.job.state !== "paused";
    return chosen ?? (isWorking || book.sending ? undefined : entries[0]);
  }

  #updateStage(entry) {
    const step = entry && this.strip.shown;
    const source = step ? step.preview : entry ? pictureUrl(entry.picture) : this.job?.preview;
    this.image.hidden = !source;
    if (source && this.image.getAttribute("src") !== source) this.image.src = source;
    this.image.alt = step ? t("strip.alt", { n: step.step }) : entry ? entry.job.summary || t("gallery.no_prompt") : t("preview.alt");
    this.stage.dataset.shows = entry ? "picture" : source ? "preview" : "notice";
    if (entry && !step) this.link.href = source;
    else this.link.removeAttribute("href");
    renewed(this.notice, source ? "" : [Boolean(this.job), book.sending, book.hasCheckpoint], () => (source ? [] : this.#noticeText()));
  }

  #noticeText() {
    if (this.job || book.sending) return h("span", { class: "easel-pulse", "aria-hidden": "true" });
    if (this.kind === "extras") return [h("h2", {}, t("empty.title")), h("p", {}, t("extras.empty"))];
    if (book.hasCheckpoint === false) return [h("h2", {}, t("error.NoCheckpoint")), h("p", {}, t("empty.no_checkpoint"))];
    return [h("h2", {}, t("empty.title")), h("p", {}, t("empty.text")), h("p", { class: "easel-keys" }, t("empty.keys"))];
  }

  #updateLive() {
    const job = this.job;
    this.live.hidden = !job && !book.sending;
    if (!job) {  // until the server has answered there is nothing that a button could tell
      for (const button of Object.values(this.buttons)) button.hidden = true;
      return setText(this.text, t("state.sending"));
    }
    const asked = book.asked.get(job.id);
    setText(this.text, line(job, asked));
    this.bar.setAttribute("aria-valuenow", String(percent(job)));
    this.bar.setAttribute("aria-valuetext", this.text.textContent);
    this.fill.style.width = `${percent(job)}%`;
    this.bar.classList.toggle("easel-bar-busy", job.state === "running" && !["sampling", "hires", "tiles"].includes(job.progress?.phase));
    const possible = { interrupt: true, skip: job.state === "running", pause: job.state === "running", resume: job.state === "paused" };
    for (const [name, button] of Object.entries(this.buttons)) {
      button.hidden = !possible[name];
      button.disabled = SETTLED_BY[name].includes(asked);
    }
  }

  #updateCards(jobs) {
    const warnings = (this.job ?? jobs.at(-1))?.warnings ?? [];
    const failed = failures(jobs, this.#dismissed);
    const refused = book.refusedOf({ trainings: false }).filter(({ kind }) => !kind || this.kinds.includes(kind));
    const key = [refused.map(({ error }) => error.message), failed.map(({ id }) => id), warnings];
    renewed(this.cards, key, () => [...errorCards(failed, (id) => this.#dismiss(id), refused), ...warningCards(warnings)]);
    const isBeside = (job) => (this.kinds.includes(job.kind) || isTraining(job)) && job !== this.job && !isFinal(job);
    updateQueue(this.queue, book.shown.filter(isBeside));
  }

  #dismiss(id) {
    this.#dismissed.add(id);
    tab.set("dismissed", [...this.#dismissed]);
    this.#update();
  }

  /** Screen readers hear changes of state and every quarter, not every step. */
  #announce(jobs) {
    const job = this.job ?? jobs.at(-1);
    if (!job) return;
    const quarter = Math.floor(percent(job) / ANNOUNCED_EVERY) * ANNOUNCED_EVERY;
    const key = `${job.id} ${job.state} ${isFinal(job) ? "" : quarter}`;
    if (key === this.#announced) return;
    this.#announced = key;
    const running = job.state === "running" && quarter > 0;
    setText(this.speaker, running ? t("progress.percent", { n: quarter }) : t(`state.${job.state}`));
  }
}

export const define = () => customElements.define("easel-result", EaselResult);

// <easel-queue>: a button in the bar, and the drawer it opens over any tab: what runs, waits, pauses, and is done.

import { errorCards } from "./cards.js";
import { h, renewed, setText } from "./dom.js";
import { pictureUrl } from "./gallery.js";
import { book, isFinal, isTraining } from "./jobs.js";
import { canEdit, putBack } from "./queue-edit.js";
import { duration, fraction, line, percent } from "./progress.js";
import { moveJob, ServerError } from "./server.js";
import { browser } from "./storage.js";
import { t } from "./words.js";

const DONE_SHOWN = 30;
const SEEN = "queue.seen";

class EaselQueue extends HTMLElement {
  #redraw = () => this.#update();
  #dragged = null;
  #leave = () => this.#toggle(false);
  #keys = (event) => event.key === "Escape" && !this.panel.hidden && this.#close(event);

  connectedCallback() {
    if (!this.panel) this.#build();
    book.addEventListener("change", this.#redraw);
    document.addEventListener("keydown", this.#keys, { capture: true });
    this.#update();
  }

  disconnectedCallback() {
    book.removeEventListener("change", this.#redraw);
    document.removeEventListener("keydown", this.#keys, { capture: true });
  }

  #build() {
    this.button = h("button", {
      type: "button", class: "easel-button", id: "easel_queue_button", "aria-expanded": "false", "aria-controls": "easel_queue_panel",
      onclick: () => this.#toggle(this.panel.hidden),
    });
    this.total = h("p", { class: "easel-queue-total" });
    this.lists = Object.fromEntries(["active", "done"].map((name) => [name, h("ol", { class: "easel-queue-jobs" })]));
    this.cards = h("div", { class: "easel-cards" });
    this.empty = h("p", { class: "easel-queue-empty" }, t("drawer.empty"));
    this.doneTitle = h("h3", {}, t("drawer.done"));
    const close = h("button", { type: "button", class: "easel-button", onclick: (event) => this.#close(event) }, t("action.close"));
    this.panel = h(
      "section",
      { class: "easel-drawer", id: "easel_queue_panel", role: "dialog", "aria-label": t("drawer.title"), hidden: true },
      h("header", {}, h("h2", {}, t("drawer.title")), close),
      this.cards, this.total, this.empty, this.lists.active, this.doneTitle, this.lists.done,
    );
    this.replaceChildren(this.button);
    document.querySelector(".gradio-container").append(this.panel);  // not inside the bar, whose row would clip it
  }

  #toggle(isOpen) {
    this.panel.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) browser.set(SEEN, Date.now() / 1000);
    this.#update();
    if (isOpen) this.panel.querySelector("button").focus();
  }

  #close(event) {
    event.stopPropagation();
    this.#toggle(false);
    this.button.focus();
  }

  #update() {
    const jobs = book.everything;
    const active = inOrder(jobs.filter((job) => !isFinal(job)));
    const done = jobs.filter(isFinal).sort((a, b) => (b.finished ?? 0) - (a.finished ?? 0)).slice(0, DONE_SHOWN);
    const fresh = done.filter((job) => job.finished > (browser.get(SEEN) ?? 0)).length;
    setText(this.button, active.length ? t("drawer.button_active", { n: active.length }) : t("drawer.button"));
    this.button.classList.toggle("easel-queue-fresh", this.panel.hidden && fresh > 0);
    this.button.title = fresh ? t("drawer.fresh", { n: fresh }) : t("drawer.title");
    if (this.panel.hidden) return;
    this.empty.hidden = active.length + done.length > 0;
    this.doneTitle.hidden = !done.length;
    const refused = book.refusedOf({ trainings: false });  // the drawer lies over the tab that shows them
    renewed(this.cards, refused.map(({ error }) => [error.kind, error.message]), () => errorCards([], null, refused));
    setText(this.total, totalLine(active));
    renewed(this.lists.active, active.map(({ id, state }) => [id, state]), () => active.map((job) => this.#row(job, active)));
    active.forEach((job, i) => refresh(this.lists.active.children[i], job));
    renewed(this.lists.done, done.map(({ id, state, pictures }) => [id, state, pictures.length]), () => done.map((job) => doneRow(job, this.#leave)));
  }

  #row(job, active) {
    const waiting = active.filter((other) => other.state === "queued" && isTraining(other) === isTraining(job));
    const place = waiting.findIndex((other) => other.id === job.id);
    const canMove = job.state === "queued" && waiting.length > 1;
    const row = h(
      "li",
      { class: "easel-queue-job", "data-id": job.id, draggable: canMove ? "true" : null },
      h("div", { class: "easel-queue-what" }, thumbnail(job), h("div", {}, prompt(job), h("p", { class: "easel-queue-line" }))),
      h("div", { class: "easel-bar", hidden: job.state === "queued" }, h("div", { class: "easel-bar-fill" })),
      h(
        "div",
        { class: "easel-actions" },
        ...(canMove ? this.#movers(job, waiting, place) : []),
        ...actions(job, this.#leave),
      ),
    );
    if (canMove) this.#makeDraggable(row, job, waiting[place + 1]?.id ?? null);
    return row;
  }

  #movers(job, waiting, place) {
    return [
      tool("up", place > 0, () => this.#move(job.id, waiting[place - 1].id)),
      tool("down", place < waiting.length - 1, () => this.#move(job.id, waiting[place + 2]?.id ?? null)),
    ];
  }

  /** `after`: id of the next job that waits in the same line, or null. */
  #makeDraggable(row, job, after) {
    row.addEventListener("dragstart", (event) => {
      this.#dragged = job;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", job.id);
    });
    row.addEventListener("dragend", () => (this.#dragged = null));
    row.addEventListener("dragover", (event) => {
      if (!this.#dragged || this.#dragged.id === job.id || isTraining(this.#dragged) !== isTraining(job)) return;
      event.preventDefault();
      row.classList.toggle("easel-drop-after", isLower(event, row));
      row.classList.toggle("easel-drop-before", !isLower(event, row));
    });
    const leave = () => row.classList.remove("easel-drop-after", "easel-drop-before");
    row.addEventListener("dragleave", leave);
    row.addEventListener("drop", (event) => {
      event.preventDefault();
      leave();
      const next = isLower(event, row) ? after : job.id;
      if (this.#dragged && next !== this.#dragged.id) void this.#move(this.#dragged.id, next);
    });
  }

  async #move(id, before) {
    try {
      await moveJob(id, before);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      book.refuse(null, error);  // it has begun meanwhile: a card says so
    }
  }
}

const isLower = (event, row) => event.clientY > row.getBoundingClientRect().top + row.offsetHeight / 2;

const STATES = ["running", "paused", "queued"];

/** What runs, then what is paused, then what waits in the order in which it will run. */
const inOrder = (jobs) =>
  jobs.sort(
    (a, b) =>
      STATES.indexOf(a.state) - STATES.indexOf(b.state) || (a.position ?? 0) - (b.position ?? 0) || a.created - b.created,
  );

/** Seconds until a job is over: what it says itself, else what its kind has taken here before; null: nobody knows. */
function secondsLeft(job) {
  if (typeof job.progress?.eta === "number") return job.progress.eta;
  return typeof job.estimate === "number" ? job.estimate * (1 - fraction(job)) : null;
}

function totalLine(active) {
  const pictures = active.filter((job) => !isTraining(job) && job.state !== "paused");
  if (!pictures.length) return "";
  const times = pictures.map(secondsLeft);
  const sum = times.reduce((all, seconds) => all + (seconds ?? 0), 0);
  if (times.every((seconds) => seconds === null)) return t("drawer.count", { n: pictures.length });
  return t(times.includes(null) ? "drawer.total_at_least" : "drawer.total", { n: pictures.length, time: duration(sum) });
}

function refresh(row, job) {
  const seconds = job.state === "queued" ? secondsLeft(job) : null;
  const told = line(job, book.asked.get(job.id)) + (seconds === null ? "" : ` · ${t("drawer.takes", { time: duration(seconds) })}`);
  setText(row.querySelector(".easel-queue-line"), told);
  row.querySelector(".easel-bar-fill").style.width = `${percent(job)}%`;
  const image = row.querySelector("img");
  if (image && job.preview && image.src !== job.preview) image.src = job.preview;
  if (image) image.hidden = !image.getAttribute("src");
  for (const button of row.querySelectorAll("[data-action]")) button.disabled = button.dataset.action === book.asked.get(job.id);
}

function thumbnail(job) {
  const newest = job.pictures.at(-1);
  const source = job.preview ?? (newest && pictureUrl(newest));
  return h("img", { class: "easel-queue-picture", alt: "", src: source ?? null, hidden: !source, loading: "lazy" });
}

const prompt = (job) => h("p", { class: "easel-queue-prompt", title: job.summary }, job.summary || t("gallery.no_prompt"));

const tool = (name, isPossible, onclick) =>
  h(
    "button",
    { type: "button", class: "easel-button", disabled: !isPossible, title: t(`drawer.${name}`), "aria-label": t(`drawer.${name}`), onclick },
    { up: "↑", down: "↓" }[name],
  );

/** Hours of training are not thrown away from here: stopping one for good is the Train tab's. */
function actions(job, leave) {
  const names = [job.state === "paused" ? "resume" : "pause", ...(isTraining(job) ? [] : ["cancel"])];
  const button = (action) => {
    const attributes = { type: "button", class: "easel-button", "data-action": action };
    return h("button", { ...attributes, onclick: () => book.tell(job.id, action) }, t(`action.${action}`));
  };
  return [...names.map(button), ...(isTraining(job) ? [] : copies(job, leave))];
}

/** `leave` closes the drawer. */
function copies(job, leave) {
  const { request } = job;
  const resubmit = () => void book.submit(job.kind, "seed" in request ? { ...request, seed: -1 } : request);
  const again = h("button", { type: "button", class: "easel-button", title: t("drawer.again_title"), onclick: resubmit }, t("drawer.again"));
  if (job.state !== "queued" || !canEdit(job)) return [again];
  const press = () => void edit(job, leave);
  return [again, h("button", { type: "button", class: "easel-button", title: t("drawer.edit_title"), onclick: press }, t("drawer.edit"))];
}

/** The job is given up only when all that it was asked for is back in its tab; else a card says why not, here or there. */
async function edit(job, leave) {
  try {
    if (await putBack(job)) void book.tell(job.id, "cancel");
    leave();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    book.refuse(job.kind, error);
  }
}

function doneRow(job, leave) {
  return h(
    "li",
    { class: "easel-queue-job" },
    h(
      "div",
      { class: "easel-queue-what" },
      thumbnail(job),
      h("div", {}, prompt(job), h("p", { class: "easel-queue-line" }, [t(`state.${job.state}`), ...took(job)].join(" · "))),
    ),
    isTraining(job) ? null : h("div", { class: "easel-actions" }, ...copies(job, leave)),
  );
}

const took = ({ started, finished }) => (started && finished ? [duration(finished - started)] : []);

export const define = () => customElements.define("easel-queue", EaselQueue);

// <easel-training>: the trainings of this machine: one on the stage with its curve, samples and buttons, all in a list.

import { errorCard, errorCards, warningCards } from "./cards.js";
import { h, isSure, renewed, setText } from "./dom.js";
import { book, isFinal } from "./jobs.js";
import { LossPlot, shortNumber } from "./plot.js";
import { duration, line, percent } from "./progress.js";
import { getTraining, server, ServerError } from "./server.js";
import { browser, tab } from "./storage.js";
import { chosen, putIntoTraining } from "./train-form.js";
import { t } from "./words.js";

const POINTS = 600;
const FETCH_EVERY = 2000;
const SETTINGS = { log: false, smoothing: 0.8 };
/** What a run is told by: fields in this order, as far as its kind has them. */
const FACTS = ["dataset", "checkpoint", "first_stage", "steps", "batch_size", "learning_rate", "size", "rank", "token", "trigger", "control", "conditioning", "seed"];

class EaselTraining extends HTMLElement {
  #chosen = null;  // id of the run the reader picked; null follows the newest
  #told = { id: null, losses: [], samples: [], can_go_on: false };
  #sample = null;  // step of the sample the reader picked; null follows the newest
  #fetched = { at: 0, key: "" };
  #settings = { ...SETTINGS, ...(browser.get("plot") ?? {}) };
  #dismissed = new Set([tab.get("dismissed") ?? []].flat());
  #redraw = () => this.#schedule();
  #scheduled = false;
  #submitted = ({ detail }) => this.#choose(detail);
  #clock = null;

  connectedCallback() {
    if (!this.stage) this.#build();
    book.addEventListener("change", this.#redraw);
    chosen.addEventListener("submitted", this.#submitted);
    this.#clock = setInterval(() => this.job && !isFinal(this.job) && this.#fetch(), FETCH_EVERY);
    void book.fetchTrainings();
    this.#update();
  }

  disconnectedCallback() {
    book.removeEventListener("change", this.#redraw);
    chosen.removeEventListener("submitted", this.#submitted);
    clearInterval(this.#clock);
  }

  #build() {
    this.cards = h("div", { class: "easel-cards" });
    this.notice = h("div", { class: "easel-train-empty" }, h("h2", {}, t("train.empty.title")), h("ol", {}, ...[1, 2, 3].map((n) => h("li", {}, t(`train.empty.${n}`)))));
    this.name = h("h2", {});
    this.kind = h("span", { class: "easel-run-kind" });
    this.fill = h("div", { class: "easel-bar-fill" });
    this.bar = h("div", { class: "easel-bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": t("progress.label") }, this.fill);
    this.text = h("span", { class: "easel-line" });
    this.buttons = this.#makeButtons();
    const row = h("div", { class: "easel-live-row" }, this.text, ...Object.values(this.buttons));
    this.numbers = h("dl", { class: "easel-run-facts easel-run-numbers" });
    this.result = h("p", { class: "easel-run-result" });
    this.plot = new LossPlot();
    this.sampleBox = h("div", { class: "easel-samples" });
    this.facts = h("div", {});
    this.stage = h(
      "section",
      { class: "easel-run" },
      h("header", {}, this.name, this.kind),
      this.bar, row, this.result, this.numbers, this.#plotBar(), this.plot.element, this.sampleBox, this.facts,
    );
    this.list = h("ul", { class: "easel-runs", "aria-label": t("train.runs") });
    this.replaceChildren(this.cards, this.notice, this.stage, this.list);
  }

  #makeButtons() {
    const button = (name, press, words = t(`action.${name}`)) =>
      h("button", { type: "button", class: "easel-button", id: `train_${name}`, onclick: press, title: t(`train.${name}.title`) }, words);
    const tell = (action) => () => book.tell(this.job.id, action);
    return {
      pause: button("pause", tell("pause")),
      resume: button("resume", tell("resume")),
      again: button("again", () => this.#again(), t("train.again")),
      cancel: button("cancel", () => isSure(this.buttons.cancel, t("action.cancel"), t("train.cancel.sure")) && tell("cancel")()),
    };
  }

  #plotBar() {
    const change = (values) => {
      this.#settings = { ...this.#settings, ...values };
      browser.set("plot", this.#settings);
      this.#drawPlot();
    };
    const { log, smoothing } = this.#settings;
    const logBox = h("input", { type: "checkbox", checked: log, onchange: () => change({ log: logBox.checked }) });
    const range = h("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: String(smoothing), oninput: () => change({ smoothing: Number(range.value) }) });
    this.plotBar = h(
      "div",
      { class: "easel-plot-bar" },
      h("span", { class: "easel-plot-title" }, t("train.loss")),
      h("label", {}, logBox, t("train.plot.log")),
      h("label", {}, t("train.plot.smoothing"), range),
    );
    return this.plotBar;
  }

  #choose(id) {
    this.#chosen = id;
    this.#sample = null;
    this.#update();
  }

  async #again() {
    const heir = await book.takeUpAgain(this.job.id);
    if (heir) this.#choose(heir.id);
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.#update();
    });
  }

  #update() {
    const runs = book.trainings;
    const active = runs.filter((job) => !isFinal(job));
    const newest = active.find((job) => job.state === "running") ?? active.at(-1) ?? runs.at(-1);
    this.job = runs.find(({ id }) => id === this.#chosen) ?? newest;
    this.toggleAttribute("data-active", active.length > 0);
    this.notice.hidden = Boolean(this.job);
    this.stage.hidden = !this.job;
    this.#updateCards();
    this.#updateList(runs);
    if (!this.job) return;
    if (this.#told.id !== this.job.id) this.#told = { id: this.job.id, losses: [], samples: [], can_go_on: false };
    const { id, state, newestSample, result } = this.job;
    const key = [id, state, newestSample, result].join();
    if (key !== this.#fetched.key) this.#fetch(key);
    this.#updateHead();
    this.#updateNumbers();
    this.#updateFacts();
    this.#drawPlot();
    this.#drawSamples();
  }

  /** Ask for curve and samples: at every change of state, and now and then while the run goes on. */
  async #fetch(key = this.#fetched.key) {
    if (document.hidden && key === this.#fetched.key) return;
    this.#fetched = { at: Date.now(), key };
    const id = this.job.id;
    try {
      const told = await getTraining(id, POINTS);
      if (id === this.job?.id) this.#told = { id, ...told };
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
      return;
    }
    this.#schedule();
  }

  #updateHead() {
    const { job } = this;
    const asked = book.asked.get(job.id);
    setText(this.name, job.summary);
    setText(this.kind, t(`kind.${job.kind}`));
    setText(this.text, line(job, asked));
    this.bar.hidden = isFinal(job);
    this.bar.setAttribute("aria-valuenow", String(percent(job)));
    this.bar.setAttribute("aria-valuetext", this.text.textContent);
    this.fill.style.width = `${percent(job)}%`;
    this.bar.classList.toggle("easel-bar-busy", job.state === "running" && job.progress?.phase !== "training");
    const possible = {
      pause: job.state === "running" || job.state === "queued",
      resume: job.state === "paused",
      again: job.state === "failed" && this.#told.can_go_on,
      cancel: !isFinal(job),
    };
    for (const [name, button] of Object.entries(this.buttons)) {
      button.hidden = !possible[name];
      button.disabled = asked === name;
    }
    this.result.hidden = !job.result;
    setText(this.result, job.result ? t("train.result", { path: `models/${job.result}` }) : "");
  }

  #updateNumbers() {
    const { job } = this;
    const loss = job.metrics?.loss ?? this.#told.losses.at(-1)?.[1];
    const eta = job.state === "running" ? job.progress?.eta : null;
    const left = job.progress ? job.progress.total - job.progress.step : 0;
    const rows = [
      ["train.loss", loss === undefined ? "" : shortNumber(loss)],
      ["train.speed", eta && left ? speed(left / eta) : ""],
      ["train.elapsed", job.started && job.finished ? duration(job.finished - job.started) : ""],
    ].filter(([, value]) => value !== "");
    renewed(this.numbers, rows, () => rows.map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, value))));
  }

  #drawPlot() {
    const { losses } = this.#told;
    this.plotBar.hidden = this.plot.element.hidden = !losses.length && this.job.state !== "running";
    const key = JSON.stringify([this.#told.id, losses.length, losses.at(-1), this.#settings]);
    if (key === this.plotKey) return;
    this.plotKey = key;
    this.plot.update(losses, this.#settings);
  }

  #drawSamples() {
    const { samples } = this.#told;
    const shown = samples.find(({ step }) => step === this.#sample) ?? samples.at(-1);
    this.sampleBox.hidden = !shown;
    renewed(this.sampleBox, [this.#told.id, samples.map(({ step }) => step), shown?.step], () => (shown ? this.#sampleElements(samples, shown) : []));
  }

  #sampleElements(samples, shown) {
    const url = (sample) => server(sample.url.replace(/^\//, ""));
    const alt = (sample) => t("train.sample.at", { step: sample.step.toLocaleString() });
    const strip = samples.map((sample) =>
      h(
        "button",
        { type: "button", role: "option", "aria-selected": String(sample === shown), title: alt(sample), onclick: () => this.#pickSample(sample.step) },
        h("img", { src: url(sample), alt: alt(sample), loading: "lazy", decoding: "async" }),
      ),
    );
    return [
      h("figure", {}, h("img", { class: "easel-sample", src: url(shown), alt: alt(shown) }), h("figcaption", {}, alt(shown))),
      samples.length > 1 ? h("div", { class: "easel-gallery", role: "listbox", "aria-label": t("train.samples") }, ...strip) : null,
    ];
  }

  #pickSample(step) {
    this.#sample = step;
    this.#drawSamples();
  }

  #updateFacts() {
    const { job } = this;
    renewed(this.facts, [job.id], () => {
      const rows = FACTS.map((name) => [name, job.request[name]]).filter(([, value]) => value !== undefined && value !== "");
      const use = () => putIntoTraining(job.kind, { ...job.request, name: "" });
      return h(
        "details",
        { class: "easel-parameters" },
        h("summary", {}, t("train.settings")),
        h("dl", { class: "easel-run-facts" }, ...rows.map(([name, value]) => h("div", {}, h("dt", {}, t(`param.train.${name}.label`)), h("dd", {}, String(value))))),
        h("button", { type: "button", class: "easel-button", onclick: use }, t("details.use")),
      );
    });
  }

  #updateCards() {
    const refused = book.refusedOf({ trainings: true });
    const { job } = this;
    const failed = job?.error && !this.#dismissed.has(job.id) ? job : null;
    const key = [refused.map(({ error }) => [error.kind, error.message]), failed?.id, job?.warnings];
    renewed(this.cards, key, () => [
      ...errorCards([], null, refused),
      failed && errorCard(failed.error.kind, failed.error, { dismiss: () => this.#dismiss(failed.id) }),
      ...warningCards(job?.warnings ?? []),
    ]);
  }

  #dismiss(id) {
    this.#dismissed.add(id);
    tab.set("dismissed", [...this.#dismissed]);
    this.#update();
  }

  #updateList(runs) {
    const rows = runs.length > 1 ? [...runs].reverse() : [];
    this.list.hidden = !rows.length;
    renewed(this.list, rows.map(({ id }) => id), () => rows.map((job) => this.#row(job)));
    rows.forEach((job, i) => {
      const row = this.list.children[i];
      row.firstElementChild.setAttribute("aria-current", String(job === this.job));
      setText(row.querySelector(".easel-queue-state"), line(job, book.asked.get(job.id)));
    });
  }

  #row(job) {
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", onclick: () => this.#choose(job.id) },
        h("span", { class: "easel-queue-prompt" }, job.summary),
        h("span", { class: "easel-run-kind" }, t(`kind.${job.kind}`)),
        h("span", { class: "easel-queue-state" }),
      ),
    );
  }
}

const speed = (rate) =>
  rate >= 1 ? t("train.speed.value", { n: shortNumber(rate) }) : t("train.speed.slow", { n: shortNumber(1 / rate) });

export const define = () => customElements.define("easel-training", EaselTraining);

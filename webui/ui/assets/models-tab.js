// <easel-models>: the Models tab: every model of every shelf, its passport, and jobs that make other models of them.

import { errorCard, updateQueue } from "./cards.js";
import { h, renewed, setText } from "./dom.js";
import { book, isFinal } from "./jobs.js";
import { ModelGrid } from "./models-grid.js";
import { getPassport, ModelList } from "./models-list.js";
import { Panel } from "./models-panel.js";
import { isWork, WorkForm } from "./models-work.js";
import { refreshCheckpoints, ServerError } from "./server.js";
import { browser } from "./storage.js";
import { toast } from "./toast.js";
import { sentence, t } from "./words.js";

const TYPING_PAUSE = 200;
const NEWS_PAUSE = 150;  // ms: several changes at once are one look
const SORTS = ["name", "newest", "largest", "family"];
const SHELVES = ["checkpoints", "loras", "vae", "controlnets", "embeddings", "upscalers"];

class EaselModels extends HTMLElement {
  #typing = null;
  #news = null;
  #isStale = true;
  #chosen = null;  // {shelf, name}
  #over = new Set();  // ids of jobs whose end was told
  #heard = () => this.#hear();
  #worked = () => this.#drawWork();

  connectedCallback() {
    if (!this.list) this.#build();
    book.addEventListener("models", this.#heard);
    book.addEventListener("change", this.#worked);
  }

  disconnectedCallback() {
    book.removeEventListener("models", this.#heard);
    book.removeEventListener("change", this.#worked);
  }

  #build() {
    const look = () => this.#look();
    this.list = new ModelList();
    this.grid = new ModelGrid(this.list, (model) => void this.#open(model));
    this.panel = new Panel({
      close: () => this.#close(),
      changed: (passport) => this.#changed(passport),
      merge: (model) => this.#work("merge-models", { primary: model.name }),
      convert: (model) => this.#work("convert-model", { source: model.name, shelf: model.shelf }),
      fail: (error) => this.#complain(error),
    });
    this.work = new WorkForm(() => this.#close());
    this.search = h("input", {
      type: "search", id: "models_search", placeholder: t("models.search"), "aria-label": t("models.search"), title: t("models.search.help"),
      autocomplete: "off", spellcheck: "false", oninput: () => this.#type(), onkeydown: (event) => event.key === "Enter" && look(),
    });
    this.shelf = h("select", { id: "models_shelf", "aria-label": t("models.shelf"), onchange: look });
    this.family = h("select", { id: "models_family", "aria-label": t("models.family"), onchange: look });
    this.tag = h("select", { id: "models_tag", "aria-label": t("models.tag"), onchange: look });
    this.sort = h("select", { id: "models_sort", "aria-label": t("pictures.sort"), onchange: () => this.#sorted() });
    fill(this.sort, SORTS.map((name) => [name, t(`models.sort.${name}`)]));
    this.sort.value = SORTS.includes(browser.get("models.sort")) ? browser.get("models.sort") : SORTS[0];
    this.count = h("span", { class: "easel-count", role: "status" });
    const rescan = h("button", { type: "button", class: "easel-button", id: "models_rescan", onclick: () => void this.#rescan(rescan) }, t("models.rescan"));
    const merge = h("button", { type: "button", class: "easel-button", id: "models_merge", onclick: () => this.#work("merge-models", {}) }, t("models.merge"));
    const bar = h("div", { class: "easel-gallery-bar" }, this.search, this.shelf, this.family, this.tag, this.sort, rescan, merge, this.count);
    this.jobs = h("ul", { class: "easel-queue", hidden: true, "aria-label": t("models.jobs") });
    this.cards = h("div", { class: "easel-cards" });
    this.notice = h("div", { class: "easel-notice", hidden: true });
    this.side = h("aside", { class: "easel-models-side", hidden: true, "aria-label": t("models.passport") }, this.panel.element, this.work.element);
    this.side.addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
    const frame = h("div", { class: "easel-models-frame" }, this.grid.element, this.notice);
    this.replaceChildren(bar, this.cards, this.jobs, h("div", { class: "easel-models-main" }, frame, this.side));
    this.#fillSelects();
    this.list.addEventListener("change", ({ detail }) => this.#update(detail));
    this.list.addEventListener("trouble", ({ detail }) => this.#complain(detail));
    new IntersectionObserver(() => this.grid.isVisible && this.#isStale && this.#look()).observe(this);
  }

  get #query() {
    return { q: this.search.value.trim(), shelf: this.shelf.value, family: this.family.value, tag: this.tag.value, sort: this.sort.value };
  }

  // Looking.

  #type() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#look(), TYPING_PAUSE);
  }

  #sorted() {
    browser.set("models.sort", this.sort.value);
    this.#look();
  }

  #look() {
    this.#isStale = false;
    void this.list.look(this.#query);
  }

  #hear() {
    clearTimeout(this.#news);
    this.#news = setTimeout(() => {
      this.#isStale = true;
      if (this.grid.isVisible) this.#look();
    }, NEWS_PAUSE);
  }

  async #rescan(button) {
    button.disabled = true;
    try {
      await refreshCheckpoints();  // looks at every shelf, and every page is told
      this.#look();
    } catch (error) {
      this.#complain(error);
    }
    button.disabled = false;
  }

  #update({ isOther }) {
    if (isOther) this.grid.toTop();
    else this.grid.draw();
    this.#fillSelects();
    setText(this.count, this.list.total === null ? "" : t("models.count", { n: this.list.total.toLocaleString() }));
    this.notice.hidden = this.list.total !== 0;
    renewed(this.notice, [this.list.total, this.#query, this.list.facets.folder], () => (this.list.total === 0 ? this.#noticeText() : []));
  }

  /** Nothing was found, or nothing is there: then where files go. */
  #noticeText() {
    const { q, shelf, family, tag } = this.#query;
    const { shelves, folder } = this.list.facets;
    if ((q || family || tag) && SHELVES.some((name) => (!shelf || shelf === name) && shelves[name])) {
      return [h("h2", {}, t("models.nothing")), h("p", {}, t("models.nothing.help")), this.#resetButton()];
    }
    const where = shelf ? [shelf] : SHELVES;
    return [
      h("h2", {}, t("models.none")),
      h("p", {}, t("models.none.help")),
      h("ul", { class: "easel-models-where" }, ...where.map((name) => h("li", {}, `${t(`models.shelf.${name}`)}: `, h("code", {}, `${folder}/${name}`)))),
    ];
  }

  #resetButton() {
    const reset = () => {
      this.search.value = this.shelf.value = this.family.value = this.tag.value = "";
      this.#look();
    };
    return h("button", { type: "button", class: "easel-button", onclick: reset }, t("models.reset"));
  }

  #fillSelects() {
    const { shelves, families, tags } = this.list.facets;
    const counted = (name) => (shelves[name] === undefined ? t(`models.shelf.${name}`) : `${t(`models.shelf.${name}`)} (${shelves[name].toLocaleString()})`);
    fill(this.shelf, [["", t("models.every_shelf")], ...SHELVES.map((name) => [name, counted(name)])]);
    fill(this.family, [["", t("models.every_family")], ...families.map((name) => [name, name])]);
    fill(this.tag, [["", t("models.every_tag")], ...tags.map((name) => [name, name])]);
    this.tag.hidden = !tags.length;
  }

  // One model.

  async #open(model) {
    this.#chosen = model;
    this.grid.chosen = `${model.shelf}/${model.name}`;
    this.grid.draw();
    try {
      const passport = await getPassport(model);
      if (this.#chosen !== model) return;
      this.work.hide();
      this.panel.show(passport);
      this.side.hidden = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Something of the model is different; null: it is gone. */
  #changed(passport) {
    if (passport) this.panel.show(passport);
    else this.#close();
    this.#look();
  }

  #close() {
    this.side.hidden = true;
    this.panel.hide();
    this.work.hide();
    this.#chosen = null;
    this.grid.chosen = "";
    this.grid.draw();
  }

  async #work(kind, values) {
    try {
      await this.work.show(kind, values);
      this.panel.hide();
      this.side.hidden = false;
      this.side.scrollTop = 0;
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error) {
    if (!(error instanceof ServerError)) throw error;
    toast(error.told ? sentence(error.told) : t("error.Unreachable"));
  }

  // What is being made.

  #drawWork() {
    const jobs = book.everything.filter(isWork);
    const running = jobs.filter((job) => !isFinal(job));
    updateQueue(this.jobs, running);
    for (const job of jobs.filter((each) => isFinal(each) && book.isOwn(each.id) && !this.#over.has(each.id))) {
      this.#over.add(job.id);
      if (job.state === "done" && this.isConnected) for (const told of job.warnings) this.#note(job, told);
    }
    const failed = jobs.filter((job) => job.error && book.isOwn(job.id) && !this.#over.has(`${job.id} put away`));
    const refused = book.refused.filter(isWork);
    const key = [failed.map(({ id }) => id), refused.map(({ error }) => error.message), this.notes];
    renewed(this.cards, key, () => [
      ...refused.map((each) => errorCard(each.error.kind, each.error.told, { dismiss: () => book.dismissRefusals([each]) })),
      ...failed.map((job) => errorCard(job.error.kind, job.error, { dismiss: () => this.#putAway(job) })),
      ...(this.notes ?? []).map(([name, told]) => h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, `${name}: ${sentence(told)}`), this.#understood(told))),
    ]);
  }

  #note(job, told) {
    this.notes = [...(this.notes ?? []), [job.summary, told]];
  }

  #understood(told) {
    const forget = () => {
      this.notes = this.notes.filter(([, each]) => each !== told);
      this.#drawWork();
    };
    return h("button", { type: "button", class: "easel-button", onclick: forget }, t("action.dismiss"));
  }

  #putAway(job) {
    this.#over.add(`${job.id} put away`);
    this.#drawWork();
  }
}

/** Choices of a select; what is chosen stays where it can. */
function fill(select, choices) {
  renewed(select, choices, () => {
    const before = select.value;
    setTimeout(() => choices.some(([value]) => value === before) && (select.value = before));
    return choices.map(([value, words]) => h("option", { value, selected: value === before }, words));
  });
}

export const define = () => customElements.define("easel-models", EaselModels);

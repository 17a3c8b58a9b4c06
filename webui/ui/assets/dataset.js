// <easel-dataset>: choose or make a dataset, drop files into it, see its pictures, write their captions.

import { errorCard } from "./cards.js";
import { h, isSure, renewed, setText } from "./dom.js";
import {
  addToDataset, createDataset, deleteDataset, getDataset, getDatasets, removePicture, ServerError, setCaption, thumbnailUrl,
} from "./server.js";
import { chosen, chosenDataset, chooseDataset, trainFormStarted } from "./train-form.js";
import { sentence, t } from "./words.js";

const PAGE = 60;
const AT_ONCE = 3;  // uploads side by side
const PROBLEMS_SHOWN = 5;
const ACCEPTED = "image/png,image/jpeg,image/webp,image/avif,image/gif,image/bmp,image/tiff,.txt,.caption,.jsonl,.zip";

class EaselDataset extends HTMLElement {
  #all = [];
  #shown = null;  // the chosen dataset as the server tells it, with all its loaded items
  #errors = [];
  #uploading = { done: 0, total: 0 };
  #follow = () => this.#load();

  connectedCallback() {
    if (!this.bar) this.#build();
    chosen.addEventListener("change", this.#follow);
    this.#refresh();
  }

  disconnectedCallback() {
    chosen.removeEventListener("change", this.#follow);
  }

  #build() {
    this.select = h("select", { id: "train_dataset", "aria-label": t("param.train.dataset.label"), onchange: () => chooseDataset(this.select.value) });
    this.newName = h("input", { type: "text", class: "easel-input", placeholder: t("dataset.name"), "aria-label": t("dataset.name"), maxlength: "60" });
    this.newRow = h(
      "form",
      { class: "easel-dataset-new", hidden: true, onsubmit: (event) => this.#create(event) },
      this.newName,
      h("button", { type: "submit", class: "easel-button" }, t("dataset.create")),
    );
    this.newButton = h("button", { type: "button", class: "easel-button", id: "train_dataset_new", onclick: () => this.#toggleNew() }, t("dataset.new"));
    this.deleteButton = h("button", { type: "button", class: "easel-button", onclick: () => this.#delete() }, t("dataset.delete"));
    this.bar = h("div", { class: "easel-dataset-bar" }, h("h2", {}, t("dataset.title")), this.select, this.newButton, this.deleteButton);
    this.files = h("input", { type: "file", multiple: true, accept: ACCEPTED, class: "easel-sr", onchange: () => this.#choose() });
    this.dropText = h("span", {});
    this.drop = h("label", { class: "easel-drop" }, this.files, h("strong", {}, t("dataset.drop")), this.dropText);
    this.addEventListener("dragover", (event) => this.#dragged(event, true));
    this.addEventListener("dragleave", (event) => this.#dragged(event, false));
    this.addEventListener("drop", (event) => this.#dropped(event));
    this.cards = h("div", { class: "easel-cards" });
    this.problems = h("div", {});
    this.summary = h("p", { class: "easel-dataset-summary", role: "status" });
    this.grid = h("ul", { class: "easel-grid" });
    this.more = h("button", { type: "button", class: "easel-button", hidden: true, onclick: () => this.#loadMore() }, t("dataset.more"));
    this.replaceChildren(this.bar, this.newRow, this.cards, this.drop, this.summary, this.problems, this.grid, this.more);
  }

  // What there is.

  async #refresh() {
    await trainFormStarted;
    try {
      this.#all = (await getDatasets()).datasets;
    } catch (error) {
      return this.#fail(error);
    }
    const name = chosenDataset();
    const isThere = this.#all.some((dataset) => dataset.name === name);
    if (!isThere && (name || this.#all.length === 1)) return chooseDataset(this.#all.length === 1 ? this.#all[0].name : "");
    await this.#load();
  }

  async #load() {
    const name = chosenDataset();
    if (name && !this.#all.some((dataset) => dataset.name === name)) return this.#refresh();
    try {
      const count = Math.max(PAGE, this.#shown?.name === name ? this.#shown.items.length : 0);
      const shown = name ? await getDataset(name, 0, Math.min(500, count)) : null;
      if (name !== chosenDataset()) return;  // another one was chosen meanwhile
      this.#shown = shown;
    } catch (error) {
      if (error.kind === "UnknownName") return this.#refresh();
      this.#fail(error);
    }
    this.#update();
  }

  async #loadMore() {
    const { name, items } = this.#shown;
    try {
      const next = await getDataset(name, items.length, PAGE);
      this.#shown = { ...next, items: [...items, ...next.items] };
    } catch (error) {
      this.#fail(error);
    }
    this.#update();
  }

  // What a person does.

  #toggleNew() {
    this.newRow.hidden = !this.newRow.hidden;
    if (!this.newRow.hidden) this.newName.focus();
  }

  async #create(event) {
    event.preventDefault();
    if (await this.#make(this.newName.value.trim() || this.#freeName())) {
      this.newName.value = "";
      this.newRow.hidden = true;
    }
  }

  async #make(name) {
    try {
      const made = await createDataset(name);
      this.#all = [...this.#all, made];
      chooseDataset(made.name);
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #freeName() {
    const taken = new Set(this.#all.map(({ name }) => name.toLowerCase()));
    for (let number = 1; ; number += 1) {
      const name = number > 1 ? `pictures ${number}` : "pictures";
      if (!taken.has(name)) return name;
    }
  }

  /** Twice within a few seconds: all pictures and captions are gone then. */
  async #delete() {
    if (!isSure(this.deleteButton, t("dataset.delete"), t("dataset.delete.sure"))) return;
    try {
      await deleteDataset(chosenDataset());
      this.#all = this.#all.filter(({ name }) => name !== chosenDataset());
      chooseDataset("");
    } catch (error) {
      this.#fail(error);
    }
  }

  #dragged(event, isOver) {
    event.preventDefault();
    this.drop.classList.toggle("easel-drop-over", isOver);
  }

  #dropped(event) {
    this.#dragged(event, false);
    void filesIn(event.dataTransfer).then((files) => this.#upload(files));
  }

  #choose() {
    const files = [...this.files.files];
    this.files.value = "";  // the same files may be chosen again
    void this.#upload(files);
  }

  async #upload(files) {
    if (!files.length) return;
    this.#errors = [];
    if (!chosenDataset() && !(await this.#make(this.#freeName()))) return;
    const name = chosenDataset();
    this.#uploading = { done: 0, total: files.length };
    const waiting = files.sort((a, b) => a.name.localeCompare(b.name));
    const next = async () => {
      for (let file = waiting.shift(); file; file = waiting.shift()) {
        await this.#send(name, file);
        this.#uploading.done += 1;
        this.#update();
      }
    };
    this.#update();
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    this.#uploading = { done: 0, total: 0 };
    await this.#refresh();
  }

  async #send(name, file) {
    try {
      const { problems } = await addToDataset(name, file);
      this.#errors.push(...problems.map((told) => ({ kind: null, told })));
    } catch (error) {
      this.#fail(error);
    }
  }

  async #caption(item, area) {
    const text = area.value.trim();
    if (text === item.caption) return;
    try {
      item.caption = (await setCaption(this.#shown.name, item.id, text)).caption;
      area.dataset.state = "saved";
      await this.#load();
    } catch (error) {
      area.dataset.state = "failed";
      this.#fail(error);
    }
  }

  async #remove(item) {
    try {
      await removePicture(this.#shown.name, item.id);
    } catch (error) {
      this.#fail(error);
    }
    await this.#refresh();
  }

  #fail(error) {
    if (!(error instanceof ServerError)) throw error;
    this.#errors.push({ kind: error.kind, told: error.told });
    this.#update();
  }

  // What it looks like.

  #update() {
    const names = this.#all.map(({ name, pictures }) => [name, pictures]);
    renewed(this.select, [names, chosenDataset()], () => this.#options());
    this.select.hidden = !names.length;
    this.deleteButton.hidden = !chosenDataset();
    const dataset = this.#shown;
    setText(this.dropText, this.#dropWords(dataset));
    this.drop.classList.toggle("easel-drop-small", Boolean(dataset?.pictures));
    this.summary.hidden = !dataset?.pictures && !this.#uploading.total;
    setText(this.summary, this.#summaryWords(dataset));
    renewed(this.cards, this.#errors, () => this.#errorCards());
    renewed(this.problems, dataset?.problems ?? [], () => problemList(dataset?.problems ?? []));
    const items = dataset?.items ?? [];
    renewed(this.grid, [dataset?.name, items.map(({ id }) => id)], () => items.map((item) => this.#tile(dataset.name, item)));
    items.forEach((item, i) => this.#updateTile(this.grid.children[i], item));
    this.more.hidden = items.length >= (dataset?.pictures ?? 0);
  }

  #options() {
    const none = h("option", { value: "", selected: !chosenDataset() }, t("dataset.choose"));
    const options = this.#all.map(({ name, pictures }) =>
      h("option", { value: name, selected: name === chosenDataset() }, t("dataset.option", { name, n: pictures })),
    );
    return [none, ...options];
  }

  #dropWords(dataset) {
    if (!dataset) return t("dataset.drop.none");
    return dataset.pictures ? t("dataset.drop.more") : t("dataset.drop.empty");
  }

  #summaryWords(dataset) {
    if (this.#uploading.total) return t("dataset.uploading", this.#uploading);
    return dataset ? t("dataset.summary", { n: dataset.pictures, captioned: dataset.captioned }) : "";
  }

  #errorCards() {
    const dismiss = () => {
      this.#errors = [];
      this.#update();
    };
    const shown = this.#errors.slice(0, PROBLEMS_SHOWN);
    const cards = shown.map(({ kind, told }, i) => errorCard(kind ?? "UnusablePicture", told, i ? {} : { dismiss }));
    const left = this.#errors.length - shown.length;
    return [...cards, left > 0 && h("p", { class: "easel-hint" }, t("dataset.problems.more", { n: left }))];
  }

  #tile(name, item) {
    const area = h("textarea", { rows: "2", placeholder: t("dataset.caption"), "aria-label": t("dataset.caption.of", { file: item.file }) });
    area.addEventListener("change", () => this.#caption(item, area));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) area.blur();
    });
    const remove = h("button", { type: "button", class: "easel-remove", title: t("dataset.remove"), "aria-label": t("dataset.remove.of", { file: item.file }) }, "×");
    remove.addEventListener("click", () => isSure(remove, "×", t("dataset.remove.sure")) && this.#remove(item));
    const size = `${item.width} × ${item.height}`;
    return h(
      "li",
      { class: "easel-tile" },
      h("img", { src: thumbnailUrl(name, item.id), alt: item.caption || item.file, loading: "lazy", decoding: "async", title: `${item.file} · ${size}` }),
      remove,
      item.label ? h("span", { class: "easel-tile-label" }, item.label) : null,
      area,
    );
  }

  /** A caption that is being written is left alone. */
  #updateTile(tile, item) {
    const area = tile.querySelector("textarea");
    if (document.activeElement !== area && area.value !== item.caption) area.value = item.caption;
  }
}

/** What was dropped, with the files of dropped folders; hidden ones are left out. */
async function filesIn(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = (await Promise.all(entries.map(filesOf))).flat();
  return files.filter(({ name }) => !name.startsWith("."));
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesOf))).flat());
  }
}

function problemList(problems) {
  if (!problems.length) return [];
  const lines = problems.slice(0, 50).map((told) => h("li", {}, sentence(told)));
  if (problems.length > 50) lines.push(h("li", {}, t("dataset.problems.more", { n: problems.length - 50 })));
  return h(
    "details",
    { class: "easel-card easel-warning", open: problems.length <= PROBLEMS_SHOWN },
    h("summary", {}, t("dataset.problems", { n: problems.length })),
    h("ul", {}, ...lines),
  );
}

export const define = () => customElements.define("easel-dataset", EaselDataset);

// The bar over the gallery's grid: what is looked for, and what is done with the selected pictures. Knows no server.

import { h, isSure, renewed, setText } from "./dom.js";
import { browser } from "./storage.js";
import { t } from "./words.js";

const TYPING_PAUSE = 250;
const SORTS = ["newest", "oldest", "largest", "seed"];
const NEW = "new";

/** `does`: {look(query), zip, compare, remove, restore, empty, clear, collect(id, belongs), create(name, isFilter), rename, drop}. */
export class Bar {
  #typing = null;
  #facets = { checkpoints: [], collections: [] };
  #naming = null;  // what the name being typed is for: a function

  constructor(does) {
    this.does = does;
    const look = () => this.#look();
    this.search = h("input", {
      type: "search", id: "gallery_search", placeholder: t("pictures.search"), "aria-label": t("pictures.search"), title: t("pictures.search.help"),
      autocomplete: "off", spellcheck: "false", oninput: () => this.#type(), onkeydown: (event) => event.key === "Enter" && look(),
    });
    this.star = h("button", { type: "button", id: "gallery_starred", class: "easel-button", "aria-pressed": "false", onclick: () => this.#toggleStar() }, `★ ${t("pictures.starred")}`);
    this.collection = h("select", { id: "gallery_collection", "aria-label": t("pictures.collection"), onchange: look });
    this.checkpoint = h("select", { id: "gallery_checkpoint", "aria-label": t("param.checkpoint.label"), onchange: look });
    this.sort = h("select", { id: "gallery_sort", "aria-label": t("pictures.sort"), onchange: () => this.#sorted() }, ...SORTS.map((name) => h("option", { value: name }, t(`pictures.sort.${name}`))));
    this.sort.value = SORTS.includes(browser.get("gallery.sort")) ? browser.get("gallery.sort") : SORTS[0];
    this.count = h("span", { class: "easel-count", role: "status" });
    this.own = h("span", { class: "easel-bar-own" });
    this.looking = h("div", { class: "easel-gallery-bar" }, this.search, this.star, this.collection, this.checkpoint, this.sort, this.own, this.count);
    this.chosen = h("div", { class: "easel-gallery-bar easel-chosen", hidden: true, role: "group", "aria-label": t("pictures.chosen.label") });
    this.name = h("input", { type: "text", maxlength: "80", "aria-label": t("pictures.collection.name"), placeholder: t("pictures.collection.name"), onkeydown: (event) => this.#nameKey(event) });
    this.naming = h(
      "div",
      { class: "easel-gallery-bar easel-naming", hidden: true },
      this.name,
      h("button", { type: "button", class: "easel-button", onclick: () => this.#named() }, t("pictures.collection.save")),
      h("button", { type: "button", class: "easel-button", onclick: () => this.#ask(null) }, t("pictures.cancel")),
    );
    this.element = h("div", { class: "easel-gallery-bars" }, this.looking, this.chosen, this.naming);
    this.#fillSelects();
  }

  get query() {
    return {
      q: this.search.value.trim(),
      starred: this.star.getAttribute("aria-pressed") === "true" ? "true" : "",
      collection: this.collection.value,
      checkpoint: this.checkpoint.value,
      sort: this.sort.value,
    };
  }

  get inTrash() {
    return this.collection.value === "trash";
  }

  /** Whether anything is looked for. */
  get isNarrow() {
    const { q, starred, collection, checkpoint } = this.query;
    return Boolean(q || starred || collection || checkpoint);
  }

  reset() {
    this.search.value = "";
    this.star.setAttribute("aria-pressed", "false");
    this.collection.value = this.checkpoint.value = "";
    this.#look();
  }

  setFacets(facets) {
    this.#facets = facets;
    this.#fillSelects();
  }

  /** Numbers over the grid; `indexing` is {done, total} while files are read. */
  tell(total, indexing) {
    const reading = indexing ? ` · ${t("pictures.indexing", { done: indexing.done.toLocaleString(), total: indexing.total.toLocaleString() })}` : "";
    setText(this.count, total === null ? "" : t("pictures.count", { n: total.toLocaleString() }) + reading);
    renewed(this.own, [this.collection.value, total], () => this.#ownButtons(total));
  }

  /** Show what can be done with so many selected pictures. */
  select(count) {
    this.chosen.hidden = count === 0;
    this.star.hidden = this.checkpoint.hidden = this.sort.hidden = this.inTrash;
    renewed(this.chosen, [count, this.collection.value, this.#facets.collections], () => (count ? this.#chosenButtons(count) : []));
  }

  /** Ask for a name; `then(name)` when there is one. */
  askName(then, value = "") {
    this.#ask(then, value);
  }

  #fillSelects() {
    const { collections, checkpoints } = this.#facets;
    const named = collections.map(({ id, name, pictures }) => [id, `${name} (${pictures.toLocaleString()})`]);
    fill(this.collection, [["", t("pictures.all")], ...named, ["trash", t("pictures.trash")]]);
    fill(this.checkpoint, [["", t("pictures.any_checkpoint")], ...checkpoints.map(({ name }) => [name, name])]);
  }

  #ownButtons(total) {
    if (this.inTrash) return total ? this.#sure("pictures.empty", () => this.does.empty()) : [];
    const collection = this.#facets.collections.find(({ id }) => id === this.collection.value);
    if (!collection) return [];
    return [
      button(t("pictures.rename"), () => this.#ask((name) => this.does.rename(collection.id, name), collection.name)),
      this.#sure("pictures.drop", () => this.does.drop(collection.id)),
    ];
  }

  #chosenButtons(count) {
    const words = h("strong", {}, t("pictures.chosen", { n: count.toLocaleString() }));
    if (this.inTrash) return [words, button(t("pictures.restore"), () => this.does.restore()), button(t("pictures.clear"), () => this.does.clear())];
    const into = h("select", { class: "easel-collect", "aria-label": t("pictures.collect"), onchange: () => this.#collect(into) });
    fill(into, [["", t("pictures.collect")], ...this.#facets.collections.map(({ id, name }) => [id, name]), [NEW, t("pictures.collection.new")]]);
    return [
      words,
      button(t("light.star"), () => this.does.star()),
      into,
      this.collection.value ? button(t("pictures.take_out"), () => this.does.collect(this.collection.value, false)) : null,
      count === 2 ? button(t("compare.open"), () => this.does.compare()) : null,
      button(t("pictures.zip"), () => this.does.zip()),
      button(t("pictures.delete"), () => this.does.remove()),
      button(t("pictures.clear"), () => this.does.clear()),
    ];
  }

  #collect(select) {
    const { value } = select;
    select.value = "";
    if (value === NEW) this.#ask((name) => this.does.create(name));
    else if (value) this.does.collect(value, true);
  }

  #sure(key, then) {
    const press = button(t(key), () => isSure(press, t(key), t(`${key}.sure`)) && then());
    return press;
  }

  #ask(then, value = "") {
    this.#naming = then;
    this.naming.hidden = !then;
    this.name.value = value;
    if (then) this.name.focus();
  }

  #named() {
    const name = this.name.value.trim();
    const then = this.#naming;
    if (!name || !then) return this.name.focus();
    this.#ask(null);
    then(name);
  }

  #nameKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") this.#named();
    if (event.key === "Escape") this.#ask(null);
  }

  #toggleStar() {
    this.star.setAttribute("aria-pressed", String(this.star.getAttribute("aria-pressed") !== "true"));
    this.#look();
  }

  #sorted() {
    browser.set("gallery.sort", this.sort.value);
    this.#look();
  }

  #type() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#look(), TYPING_PAUSE);
  }

  #look() {
    clearTimeout(this.#typing);
    this.does.look(this.query);
  }
}

const button = (words, press) => h("button", { type: "button", class: "easel-button", onclick: press }, words);

function fill(select, options) {
  renewed(select, [options, 0], () => {
    const { value } = select;
    const made = options.map(([key, words]) => h("option", { value: key, selected: key === value }, words));
    return made;
  });
}

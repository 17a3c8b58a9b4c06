// <easel-pictures>: the gallery tab: every picture in the outputs folder. (The strip under a result is gallery.js.)

import { comparePictures } from "./compare.js";
import { h, renewed } from "./dom.js";
import { Bar } from "./gallery-bar.js";
import { Grid } from "./gallery-grid.js";
import { Lightbox } from "./gallery-lightbox.js";
import {
  addressOf, collectPictures, createCollection, deleteCollection, deletePictures, emptyTrash, exportPictures, getFacets, getPicture,
  PictureList, renameCollection, restorePictures, starPictures,
} from "./gallery-list.js";
import { book } from "./jobs.js";
import { meaning } from "./keys.js";
import { ServerError } from "./server.js";
import { toast } from "./toast.js";
import { sentence, t } from "./words.js";

const NEWS_PAUSE = 150;  // ms: several changes at once are one look

class EaselPictures extends HTMLElement {
  #anchor = null;  // the place where a range begins
  #isStale = true;
  #news = null;
  #heard = () => this.#hear();

  connectedCallback() {
    if (!this.list) this.#build();
    book.addEventListener("pictures", this.#heard);
  }

  disconnectedCallback() {
    book.removeEventListener("pictures", this.#heard);
  }

  #build() {
    this.list = new PictureList();
    this.bar = new Bar({
      look: (query) => this.#look(query),
      zip: () => this.#try(() => this.#zip()),
      compare: () => this.#try(() => this.#compare()),
      star: () => this.#try(() => this.#star([...this.grid.selected])),
      remove: () => this.#try(() => this.#delete([...this.grid.selected])),
      restore: () => this.#try(() => this.#restore([...this.grid.selected])),
      empty: () => this.#try(() => this.#empty()),
      clear: () => this.#clear(),
      collect: (id, belongs) => this.#try(() => this.#collect(id, [...this.grid.selected], belongs)),
      create: (name) => this.#try(() => this.#create(name, [...this.grid.selected])),
      rename: (id, name) => this.#try(() => renameCollection(id, name).then(() => this.#learnFacets())),
      drop: (id) => this.#try(() => this.#drop(id)),
    });
    this.grid = new Grid(this.list, (what, position) => this.#act(what, position));
    this.light = new Lightbox(this.list, {
      star: (picture) => this.#try(() => this.#star([picture.id], !picture.starred)),
      remove: (picture) => this.#try(() => this.#delete([picture.id])),
      collect: (picture) => this.#collectOne(picture),
      closed: (position) => this.grid.show(position),
    });
    this.notice = h("div", { class: "easel-notice", hidden: true });
    this.newer = h("button", { type: "button", class: "easel-button easel-newer", hidden: true, onclick: () => this.#showNewer() });
    this.onkeydown = (event) => this.#key(event);
    this.replaceChildren(this.bar.element, h("div", { class: "easel-grid-frame" }, this.newer, this.grid.element, this.notice), this.light.dialog);
    this.list.addEventListener("change", ({ detail }) => this.#update(detail));
    this.list.addEventListener("trouble", ({ detail }) => this.#complain(detail));
    new IntersectionObserver(() => this.grid.isVisible && this.#isStale && this.#refresh()).observe(this);
  }

  // Looking.

  #look(query) {
    this.#clear();
    void this.list.look(query);
  }

  #refresh() {
    this.#isStale = false;
    this.newer.hidden = true;
    void this.#learnFacets();
    return this.list.look(this.bar.query);
  }

  async #learnFacets() {
    try {
      this.bar.setFacets(await getFacets());
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
    }
  }

  /** There may be other pictures. Somebody who reads further down is not moved; a button offers what is new. */
  #hear() {
    clearTimeout(this.#news);
    this.#news = setTimeout(async () => {
      this.#isStale = true;
      if (!this.grid.isVisible) return;
      if (!this.grid.scrolled || this.list.total === null) return this.#refresh();
      try {
        const more = (await this.list.countNow()) - this.list.total;
        if (more <= 0) return this.#refresh();
        this.newer.hidden = false;
        this.newer.textContent = t("pictures.newer", { n: more.toLocaleString() });
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
      }
    }, NEWS_PAUSE);
  }

  async #showNewer() {
    await this.#refresh();
    this.grid.toTop();
  }

  #update({ isOther }) {
    if (isOther) this.grid.toTop();
    else void this.grid.follow();
    this.bar.tell(this.list.total, this.list.indexing);
    this.bar.select(this.grid.selected.size);
    this.notice.hidden = this.list.total !== 0;
    renewed(this.notice, [this.list.total, this.bar.isNarrow, this.bar.inTrash, Boolean(this.list.indexing)], () => this.#noticeText());
    void this.light.refresh();
  }

  #noticeText() {
    if (this.list.total !== 0) return [];
    if (this.bar.inTrash) return [h("h2", {}, t("pictures.trash.none")), h("p", {}, t("pictures.trash.help"))];
    if (this.list.indexing) return [h("h2", {}, t("pictures.reading")), h("p", {}, t("pictures.reading.help"))];
    if (!this.bar.isNarrow) return [h("h2", {}, t("pictures.none")), h("p", {}, t("pictures.none.help"))];
    return [
      h("h2", {}, t("pictures.nothing")),
      h("p", {}, t("pictures.nothing.help")),
      h("button", { type: "button", class: "easel-button", onclick: () => this.bar.reset() }, t("pictures.reset")),
    ];
  }

  #complain(error) {
    toast(error.told ? sentence(error.told) : t("error.Unreachable"));
  }

  /** What the server refuses is said and changes nothing. */
  async #try(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#complain(error);
    }
  }

  // Selecting.

  #act(what, position) {
    const picture = this.list.at(position);
    if (what === "open" && !this.list.inTrash) void this.light.open(position);
    else if (what === "range") void this.#try(() => this.#selectRange(position));
    else if (picture) {
      this.#anchor = this.list.placeOf(position);
      if (!this.grid.selected.delete(picture.id)) this.grid.selected.add(picture.id);
      this.#drawSelection();
    }
  }

  async #selectRange(position) {
    const begin = (this.#anchor && (await this.list.find(this.#anchor))) ?? this.#anchor?.position ?? 0;
    const [first, last] = [Math.min(begin, position), Math.max(begin, position)];
    for (const id of await this.list.idsBetween(first, last)) this.grid.selected.add(id);
    this.#drawSelection();
  }

  #clear() {
    this.grid.selected.clear();
    this.#drawSelection();
  }

  #drawSelection() {
    this.grid.element.toggleAttribute("data-selecting", this.grid.selected.size > 0);
    this.grid.draw();
    this.bar.select(this.grid.selected.size);
  }

  #key(event) {
    if (event.target.closest("input, select, dialog, pre")) return;
    const { picture } = this.grid;
    const ids = this.grid.selected.size ? [...this.grid.selected] : picture ? [picture.id] : [];
    const action = meaning("gallery", event);
    if (action === "none" && this.grid.selected.size) this.#clear();
    else if (action === "all") void this.#try(() => this.#selectAll());
    else if (action === "remove" && ids.length && !this.list.inTrash) void this.#try(() => this.#delete(ids));
    else if (action === "star" && ids.length && !this.list.inTrash) void this.#try(() => this.#star(ids));
    else if (action === "search") this.bar.search.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async #selectAll() {
    for (const id of await this.list.idsBetween(0, (this.list.total ?? 0) - 1)) this.grid.selected.add(id);
    this.#drawSelection();
  }

  // Doing.

  /** Without `starred`: a star for all, or for none where the first has one already. */
  async #star(ids, starred) {
    const shown = this.grid.picture;
    const wanted = starred ?? !(shown && ids.includes(shown.id) && shown.starred);
    await starPictures(ids, wanted);
    this.list.patch(ids, { starred: wanted });
  }

  async #delete(ids) {
    const { ids: gone } = await deletePictures(ids);
    this.#clear();
    await this.list.look();
    const undo = () => this.#try(() => this.#restore(gone));
    toast(t("pictures.deleted", { n: gone.length.toLocaleString() }), { words: t("pictures.undo"), run: undo });
  }

  async #restore(ids) {
    const { ids: back } = await restorePictures(ids);
    this.#clear();
    await this.list.look();
    toast(t("pictures.restored", { n: back.length.toLocaleString() }));
  }

  async #empty() {
    const { deleted } = await emptyTrash();
    await this.list.look();
    toast(t("pictures.emptied", { n: deleted.toLocaleString() }));
  }

  async #zip() {
    const { url } = await exportPictures([...this.grid.selected]);
    h("a", { href: addressOf(url), download: "easel-pictures.zip" }).click();
  }

  /** Two pictures, in the order in which they were selected. */
  async #compare() {
    const pictures = await Promise.all([...this.grid.selected].map(getPicture));
    comparePictures(pictures.map((picture) => ({ ...picture, title: picture.prompt })));
  }

  async #collect(id, ids, belongs) {
    await collectPictures(id, ids, belongs);
    for (const each of ids) this.light.forget(each);
    this.#clear();
    await this.#learnFacets();
    if (!belongs) await this.list.look();
    toast(t(belongs ? "pictures.collected" : "pictures.taken_out", { n: ids.length.toLocaleString() }));
  }

  async #create(name, ids) {
    const { id } = await createCollection(name);
    await this.#collect(id, ids, true);
  }

  /** From the lightbox: the picture is selected, and the bar offers the collections. */
  #collectOne(picture) {
    this.light.close();
    this.grid.selected.add(picture.id);
    this.#drawSelection();
    this.bar.chosen.querySelector(".easel-collect")?.focus();
  }

  async #drop(id) {
    await deleteCollection(id);
    this.bar.collection.value = "";
    await this.#learnFacets();
    this.#look(this.bar.query);
  }
}

export const define = () => customElements.define("easel-pictures", EaselPictures);

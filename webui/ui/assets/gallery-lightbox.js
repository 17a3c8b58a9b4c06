// One picture of the gallery tab over the whole page, with what it was made with and what can be done with it.

import { h, renewed, setText } from "./dom.js";
import { addressOf, bareUrl, getPicture } from "./gallery-list.js";
import { infoPanel } from "./info-panel.js";
import { book } from "./jobs.js";
import { meaning } from "./keys.js";
import { sendButtons, sendTo } from "./send.js";
import { Strip } from "./strip.js";
import { openTab } from "./tabs.js";
import { ServerError } from "./server.js";
import { sentence, t } from "./words.js";

const REPRODUCED = ["txt2img"];  // the others begin with a picture that metadata do not hold

/** `list`: a PictureList. `does`: {star, remove, collect, closed}. */
export class Lightbox {
  #shown = null;  // the place of the picture on display
  #details = new Map();  // id -> what the server says of it

  constructor(list, does) {
    this.list = list;
    this.does = does;
    this.image = h("img", { class: "easel-light-image" });
    this.place = h("span", { class: "easel-light-place" });
    this.panel = h("div", { class: "easel-light-info" });
    this.actions = h("div", { class: "easel-actions" });
    this.strip = new Strip("light", { look: () => this.#drawImage(), branch: (shown) => this.#branch(shown), canBranch: () => this.#isWhole(this.#info) });
    this.dialog = h(
      "dialog",
      {
        class: "easel-light", "aria-label": t("light.label"),
        onkeydown: (event) => this.#key(event),
        onclose: () => this.does.closed(this.#shown.position),
        onclick: (event) => event.target === this.dialog && this.close(),
      },
      h(
        "div",
        { class: "easel-light-stage" },
        this.image,
        this.#button("easel-light-previous", "light.previous", "‹", () => this.#move(-1)),
        this.#button("easel-light-next", "light.next", "›", () => this.#move(1)),
        this.#button("easel-light-close", "light.close", "×", () => this.close()),
      ),
      h("aside", { class: "easel-light-side" }, this.place, this.strip.element, this.actions, this.panel),
    );
    this.image.addEventListener("error", () => this.#missing());
  }

  /** What the metadata of the picture on display say, as far as it is known. */
  get #info() {
    return this.#details.get(this.#shown.picture.id)?.info;
  }

  get isOpen() {
    return this.dialog.open;
  }

  async open(position) {
    await this.#show(position);
    if (this.#shown && !this.dialog.open) this.dialog.showModal();
  }

  close() {
    this.dialog.close();
  }

  /** The list has changed: stay with the picture, or show what has come to its place, or stop where nothing is left. */
  async refresh() {
    if (!this.isOpen) return;
    if (!this.list.total) return this.close();
    const place = this.#shown;
    const position = await this.list.find(place);
    if (position === undefined) return;
    const isGone = position === null;
    const at = isGone ? Math.min(place.position, this.list.total - 1) : position;
    const picture = await this.list.load(at);
    // The reader, or a later change of the list, may have been quicker.
    if (place !== this.#shown || !picture || !(isGone || picture.id === place.picture.id)) return;
    this.#draw(this.list.placeOf(at));
  }

  /** What is known of a picture is not so any more. */
  forget(id) {
    this.#details.delete(id);
  }

  #button(name, words, sign, press) {
    return h("button", { type: "button", class: `easel-light-button ${name}`, "aria-label": t(words), title: t(words), onclick: press }, sign);
  }

  async #show(position) {
    const picture = await this.list.load(position);
    if (picture) this.#draw(this.list.placeOf(position));
  }

  #draw(place) {
    this.#shown = place;
    const { picture, position } = place;
    this.#drawStrip();
    this.#drawImage();
    setText(this.place, t("light.place", { n: (position + 1).toLocaleString(), total: this.list.total.toLocaleString() }));
    this.dialog.querySelector(".easel-light-previous").disabled = position === 0;
    this.dialog.querySelector(".easel-light-next").disabled = position >= this.list.total - 1;
    this.#drawSide();
    void this.#learn(picture);
    void this.list.load(position + 1).then((next) => next && (new Image().src = addressOf(next.url)));
  }

  #drawStrip() {
    const { picture } = this.#shown;
    this.strip.update({ id: picture.id, source: addressOf(picture.thumbnail) });
  }

  /** The picture, or the step of it that the reader looks back at. */
  #drawImage() {
    const { picture } = this.#shown;
    const step = this.strip.shown;
    const source = step ? step.preview : addressOf(picture.url);
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    this.image.alt = step ? t("strip.alt", { n: step.step }) : picture.prompt || t("gallery.no_prompt");
  }

  /** The form goes on from a step, where the picture says all that it was made with. */
  #branch({ step }) {
    const info = this.#info;
    this.close();
    sendTo(info.kind, { ...info.values, branch_step: step, branch_from: info.values });
  }

  /** Whether the metadata say enough to make the picture again. */
  #isWhole(info) {
    return Boolean(info) && REPRODUCED.includes(info.kind) && Object.keys(info.values).length > 2;
  }

  async #learn(picture) {
    if (this.#details.has(picture.id)) return;
    try {
      this.#details.set(picture.id, await getPicture(picture.id));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#details.set(picture.id, { error });
    }
    if (this.#shown.picture.id !== picture.id) return;
    this.#drawSide();
    this.#drawStrip();
  }

  #missing() {
    this.image.alt = t("light.missing");
  }

  #drawSide() {
    const { picture } = this.#shown;
    const details = this.#details.get(picture.id);
    const key = [picture.id, picture.starred, Boolean(details)];
    renewed(this.actions, key, () => this.#actionsOf(picture, details));
    renewed(this.panel, [picture.id, Boolean(details)], () => this.#infoOf(picture, details));
  }

  #actionsOf(picture, details) {
    const info = details?.info;
    const isWhole = this.#isWhole(info);
    const source = addressOf(picture.url);
    const away = () => this.close();
    return [
      h(
        "button",
        { type: "button", class: "easel-button easel-star", "aria-pressed": String(picture.starred), title: t("light.star.title"), onclick: () => this.does.star(picture) },
        `${picture.starred ? "★" : "☆"} ${t("light.star")}`,
      ),
      ...(info ? sendButtons(info.values, source, away) : []),
      isWhole && h("button", { type: "button", class: "easel-button easel-reproduce", title: t("light.reproduce.title"), onclick: () => this.#reproduce(info) }, t("light.reproduce")),
      h("a", { class: "easel-button", href: `${source}&download=true`, download: "" }, t("details.download")),
      h("a", { class: "easel-button easel-bare", href: bareUrl(picture.id), download: "picture.png", title: t("light.bare.title") }, t("light.bare")),
      h("button", { type: "button", class: "easel-button", onclick: () => this.does.collect(picture) }, t("pictures.collect")),
      h("button", { type: "button", class: "easel-button easel-delete", title: t("light.delete.title"), onclick: () => this.does.remove(picture) }, t("pictures.delete")),
    ].filter(Boolean);
  }

  #infoOf(picture, details) {
    if (!details) return [h("p", {}, t("pictures.loading"))];
    if (details.error) return [h("p", {}, details.error.told ? sentence(details.error.told) : t("error.Unreachable"))];
    const made = new Date(picture.created * 1000).toLocaleString();
    const size = `${picture.width} × ${picture.height} · ${(details.bytes / 1024).toLocaleString(undefined, { maximumFractionDigits: 0 })} KB`;
    return [h("p", { class: "easel-light-file" }, `${details.name} · ${size} · ${made}`), ...infoPanel(details.info)];
  }

  #reproduce({ kind, values }) {
    this.close();
    void book.submit(kind, values);
    openTab(`tab_${kind}`);
  }

  async #move(by) {
    const next = this.#shown.position + by;
    if (next >= 0 && next < this.list.total) await this.#show(next);
  }

  #key(event) {
    if (event.target.closest("pre, input, select")) return;
    const action = meaning("light", event);
    if (action === "previous") void this.#move(-1);
    else if (action === "next") void this.#move(1);
    else if (action === "remove") this.does.remove(this.#shown.picture);
    else if (action === "star") this.does.star(this.#shown.picture);
    else return;
    event.preventDefault();
  }
}

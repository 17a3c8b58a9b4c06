// <easel-source>: what img2img begins with: the way of working, the picture with its mask or sketch, and the jobs made of
// them. Uploads by content; the canvas itself is canvas.js.

import { PICTURES } from "./canvas-panel.js";
import { decode, maskPng, picturePng } from "./canvas-png.js";
import { errorCard } from "./cards.js";
import { h, renewed, setText } from "./dom.js";
import { readDraft, writeDraft } from "./drafts.js";
import { ofKind, putPictureIntoForm, valuesOf } from "./form.js";
import { book } from "./jobs.js";
import { getInput, server, ServerError, Unreachable, uploadInput } from "./server.js";
import { chosenScript } from "./scripts.js";
import { openTab, whenThere } from "./tabs.js";
import { chosenStyles } from "./styles.js";
import { t } from "./words.js";

/** Way of working -> what is painted on, whether by hand, and the id that AUTOMATIC1111 gives the picture there. */
const MODES = {
  img2img: { over: null, id: "img2img_image" },
  sketch: { over: "paint", id: "img2img_sketch" },
  inpaint: { over: "mask", id: "img2maskimg" },
  "inpaint-sketch": { over: "paint", id: "inpaint_sketch" },
  "inpaint-upload": { over: "mask", hasTools: false, id: "img_inpaint_base" },
  batch: { over: null, id: "img2img_batch_image" },
};
/** Fields by which the picture grows: what is new counts as masked. */
const MARGINS = ["outpaint_left", "outpaint_right", "outpaint_up", "outpaint_down"];
const SAVE_DELAY = 400;
const LEAST_SIDE = 64;
const MOST_SIDE = 2048;

class EaselSource extends HTMLElement {
  #mode = "img2img";
  #file = null;  // what the picture on the canvas was decoded from
  #batch = [];
  #problem = null;  // {kind, told}: the one card
  #picks = 0;
  #uploads = new WeakMap();  // file -> promise of {id, width, height}
  #timer = null;
  #leave = () => this.#timer && this.#save();

  connectedCallback() {
    this.tab = this.getAttribute("kind");
    if (!this.canvas) this.#build();
    addEventListener("pagehide", this.#leave);
  }

  disconnectedCallback() {
    removeEventListener("pagehide", this.#leave);
  }

  // For the form and for other tabs.

  /** Width and height for a result with the picture's shape, or null without a picture. */
  get resultSize() {
    const { bitmap } = this.canvas;
    if (!bitmap) return null;
    const shrink = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
    return [bitmap.width, bitmap.height].map((side) => Math.min(MOST_SIDE, Math.max(LEAST_SIDE, Math.round((side * shrink) / 8) * 8)));
  }

  /** Take a picture, and a mask for it, as if they had been chosen here. False, and a card, when they cannot be used. */
  async take(blob, mode, mask = null) {
    await this.ready;
    if (mode) this.#choose(mode);
    return (await this.#pick(blob)) && (!mask || this.#pickMask(mask));
  }

  /**
   * The jobs that Generate means: [{kind, pictures: function to a promise of {image, mask}}]. What is painted is copied
   * before this returns. None, and a card, when something is missing. `grows`: new margins stand in for a mask.
   */
  jobs(grows) {
    this.#problem = this.#missing(grows);
    this.#updateCards();
    if (this.#problem) return [];
    if (this.#mode === "batch") return this.#batch.map((file) => ({ kind: "img2img", pictures: () => this.#named({ image: this.#upload(file) }) }));
    const kind = this.#mode.startsWith("inpaint") ? "inpaint" : "img2img";
    const pictures = this.#named(this.#pictures(grows));
    return [{ kind, pictures: () => pictures }];
  }

  /** A request was refused: the server may have lost the pictures, so they are sent again with the next one. */
  forgetUploads() {
    this.#uploads = new WeakMap();
  }

  #pictures(grows) {
    const { canvas } = this;
    const send = (png) => png.then(uploadInput);
    const sketch = () => (canvas.isSketched ? send(picturePng(canvas.bitmap.width, canvas.bitmap.height, canvas.sketched())) : this.#upload(this.#file));
    if (this.#mode === "img2img") return { image: this.#upload(this.#file) };
    if (this.#mode === "sketch") return { image: sketch() };
    const isBlank = grows && !(this.#mode === "inpaint-sketch" ? canvas.isSketched : canvas.isMasked);
    if (isBlank) return { image: this.#upload(this.#file) };
    if (this.#mode === "inpaint-sketch") return { image: sketch(), mask: send(maskPng(canvas.sketchMask)) };
    canvas.rememberMask();
    this.#saveSoon();
    return { image: this.#upload(this.#file), mask: send(maskPng(canvas.mask)) };
  }

  async #named(uploads) {
    const kept = await Promise.all(Object.values(uploads));
    return Object.fromEntries(Object.keys(uploads).map((name, i) => [name, kept[i].id]));
  }

  #missing(grows) {
    const { canvas } = this;
    const missing = (name) => ({ kind: name, told: null });
    if (this.#mode === "batch") return this.#batch.length ? null : missing("NoPicture");
    if (!canvas.bitmap) return missing("NoPicture");
    if (grows) return null;
    if (this.#mode === "inpaint-sketch") return canvas.isSketched ? null : missing("EmptySketch");
    if (this.#mode === "inpaint-upload") return canvas.isMasked ? null : missing("NoMaskFile");
    return this.#mode !== "inpaint" || canvas.isMasked ? null : missing("EmptyMask");
  }

  // What it is made of.

  #build() {
    this.modes = Object.fromEntries(Object.keys(MODES).map((mode) => [mode, this.#modeButton(mode)]));
    this.list = h("div", { id: "mode_img2img", class: "easel-modes", role: "tablist", "aria-label": t("source.modes"), onkeydown: (event) => this.#arrow(event) }, ...Object.values(this.modes));
    this.cards = h("div", { class: "easel-cards" });
    this.canvas = h("easel-canvas");
    const on = (name, listener) => this.canvas.addEventListener(name, ({ detail }) => listener(detail));
    on("pick", ([file]) => this.#pick(file));
    on("pickurl", (url) => this.#pickUrl(url));
    on("pickmask", (file) => this.#pickMask(file));
    on("remove", () => this.#remove());
    on("painted", () => this.#painted());
    on("problem", ({ key, values }) => this.#show("UnusableInput", { text: key, template: key, values }));
    this.maskZone = this.#zone("img_inpaint_mask", "source.mask", ([file]) => this.#pickMask(file));
    this.batchZone = this.#zone("img2img_batch", "source.batch", (files) => this.#setBatch([...this.#batch, ...files]), true);
    this.batchList = h("ul", { class: "easel-batch" });
    this.hint = h("p", { class: "easel-hint" });
    this.replaceChildren(this.list, this.hint, this.cards, this.maskZone, this.canvas, this.batchZone, this.batchList);
    this.ready = this.#restore();
    this.#update();
  }

  #modeButton(mode) {
    const id = `img2img_${mode.replace("-", "_")}_tab`;
    return h("button", { type: "button", role: "tab", id, onclick: () => this.#choose(mode) }, t(`source.${mode}`));
  }

  /** A place to drop files, with a button that opens the list of files. */
  #zone(id, key, take, multiple = false) {
    const input = h("input", { type: "file", accept: PICTURES, multiple, class: "easel-sr" });
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) take(files);
    });
    const zone = h("label", { id, class: "easel-drop easel-drop-small" }, input, h("strong", {}, t(key)), h("span", {}, t(`${key}.more`)));
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
    });
    return zone;
  }

  #choose(mode) {
    this.#mode = mode;
    this.#problem = null;
    this.#update();
    this.#saveSoon();
  }

  #arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const names = Object.keys(MODES);
    const next = names[(names.indexOf(this.#mode) + step + names.length) % names.length];
    this.#choose(next);
    this.modes[next].focus();
  }

  // Pictures come and go.

  /**
   * The server looks at a picture first: what it cannot use is told in its words, and the picture so far stays. Answers
   * whether this one is on the canvas now.
   */
  async #pick(file) {
    const pick = (this.#picks += 1);
    this.#show(null);
    this.canvas.dataset.busy = "true";
    try {
      const [bitmap, source] = await this.#opened(file);
      if (pick !== this.#picks) {
        bitmap.close();
        return false;
      }
      this.#file = source;
      await this.canvas.setPicture(bitmap);
      this.#saveSoon();
      return pick === this.#picks;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (pick === this.#picks) this.#show(error.kind, error.told);
      return false;
    } finally {
      if (pick === this.#picks) delete this.canvas.dataset.busy;
    }
  }

  /** The picture and what it was decoded from: the file, or the server's copy where this browser cannot read the file. */
  async #opened(file) {
    const kept = await this.#upload(file).catch((error) => {
      if (error instanceof Unreachable) return null;  // it is sent with the job, then
      throw error;
    });
    const own = await decode(file).catch(() => null);
    if (own && (!kept || (own.width === kept.width && own.height === kept.height))) return [own, file];
    own?.close();
    if (!kept) throw new Unreachable();
    const copy = await getInput(kept.id);
    return [await decode(copy), copy];
  }

  #upload(file) {
    if (!this.#uploads.has(file)) {
      const upload = uploadInput(file);
      this.#uploads.set(file, upload);
      upload.catch(() => this.#uploads.delete(file));
    }
    return this.#uploads.get(file);
  }

  async #pickUrl(url) {
    if (!url.startsWith(server(""))) return;  // the page asks no other host
    try {
      await this.#pick(await (await fetch(url)).blob());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.#show("Unreachable", null);
    }
  }

  /** Answers whether it is the mask now. */
  async #pickMask(file) {
    this.#show(null);
    if (!this.canvas.bitmap) {
      this.#show("NoPicture", null);
      return false;
    }
    try {
      const [bitmap] = await this.#opened(file);
      const isTaken = this.canvas.setMask(bitmap);
      bitmap.close();
      return isTaken;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#show(error.kind, error.told);
      return false;
    }
  }

  #remove() {
    this.#picks += 1;
    this.#file = null;
    void this.canvas.setPicture(null);
    this.#show(null);
    this.#saveSoon();
  }

  #setBatch(files) {
    this.#batch = files;
    this.#show(null);
    this.#update();
  }

  #painted() {
    if (["EmptyMask", "EmptySketch", "NoMaskFile"].includes(this.#problem?.kind)) this.#show(null);
    this.#saveSoon();
  }

  // The draft.

  /** A picture that is chosen meanwhile is the newer one. */
  async #restore() {
    const picks = this.#picks;
    const draft = await readDraft();
    if (!draft || picks !== this.#picks) return;
    if (draft.mode in MODES) this.#mode = draft.mode;
    this.#update();
    const bitmap = draft.file && (await decode(draft.file).catch(() => null));
    if (!bitmap) return;
    if (picks !== this.#picks) return bitmap.close();
    this.#file = draft.file;
    await this.canvas.setPicture(bitmap);
    if (this.canvas.bitmap === bitmap) this.canvas.restore(draft.layers);
  }

  #saveSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), SAVE_DELAY);
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    void writeDraft({ mode: this.#mode, file: this.#file, layers: this.canvas.kept() });
  }

  // What it looks like.

  #show(kind, told) {
    this.#problem = kind && { kind, told };
    this.#updateCards();
  }

  #updateCards() {
    const problem = this.#problem;
    renewed(this.cards, problem, () => (problem ? errorCard(problem.kind, problem.told, { dismiss: () => this.#show(null) }) : []));
    if (problem) this.cards.scrollIntoView({ block: "nearest" });
  }

  #update() {
    const { over, hasTools = true, id } = MODES[this.#mode];
    for (const [mode, button] of Object.entries(this.modes)) {
      button.setAttribute("aria-selected", String(mode === this.#mode));
      button.tabIndex = mode === this.#mode ? 0 : -1;
    }
    this.canvas.id = id;
    if (this.canvas.use) this.canvas.use(over, hasTools);
    const isBatch = this.#mode === "batch";
    this.canvas.hidden = isBatch;
    this.maskZone.hidden = this.#mode !== "inpaint-upload";
    this.batchZone.hidden = this.batchList.hidden = !isBatch;
    setText(this.hint, t(`source.${this.#mode}.help`));
    document.getElementById(this.tab).dataset.mode = this.#mode;
    renewed(this.batchList, this.#batch.map(({ name, size }) => [name, size]), () => this.#batch.map((file) => this.#batchRow(file)));
    this.#updateCards();
  }

  #batchRow(file) {
    const remove = () => this.#setBatch(this.#batch.filter((each) => each !== file));
    return h("li", {}, h("span", {}, file.name), h("button", { type: "button", class: "easel-button", onclick: remove, "aria-label": t("dataset.remove.of", { file: file.name }) }, "×"));
  }
}

const sourceOf = (tab) => document.querySelector(`easel-source[kind="${tab}"]`);

/** Send the form with its pictures: one job, or one for each picture of a batch; with a script, runs of it. */
export async function submitSource(tab, names, values) {
  const request = valuesOf(tab, names, values);
  book.dismissRefusals();
  const grows = MARGINS.some((side) => request[side] > 0);
  const jobs = sourceOf(tab)?.jobs(grows) ?? [];
  for (const { kind, pictures } of jobs) {
    const own = async () => ({ ...ofKind(tab, kind, request), ...(await pictures()) });
    const job = await book.submitNext(kind, own(), chosenStyles(tab), chosenScript(tab));
    if (!job) sourceOf(tab)?.forgetUploads();
  }
}

/** Width and height from the picture; those in the form where there is none. */
export const sizeOfSource = (tab, size) => sourceOf(tab)?.resultSize ?? size;

/** "Send to": the picture (an address or a file) on the canvas of img2img, what it was made with in the form. */
export async function sendToSource(mode, picture, values) {
  openTab("tab_img2img");
  const source = await whenThere('easel-source[kind="img2img"]');
  await whenThere("#img2img_fill");
  putPictureIntoForm("img2img", values);
  try {
    await source.take(picture instanceof Blob ? picture : await (await fetch(picture)).blob(), mode);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    book.refuse("img2img", new Unreachable());
  }
}

document.addEventListener("easel-send", ({ detail: { kind, values, picture } }) => {
  if (picture && kind in MODES) void sendToSource(kind, picture, values);
});

export const define = () => customElements.define("easel-source", EaselSource);

// The passport of one model: what is known of it, what a person keeps of it, and what can be done with it.

import { chooseCheckpoint, drafted, putIntoForm } from "./form.js";
import { addressOf } from "./gallery-list.js";
import { copyText, h, isSure } from "./dom.js";
import { inBytes } from "./models-grid.js";
import { bringBack, getHash, keepDefaults, keepNotes, makeHash, previewUrl, setPreview, throwAway } from "./models-list.js";
import { request, ServerError } from "./server.js";
import { tab } from "./storage.js";
import { openTab } from "./tabs.js";
import { toast } from "./toast.js";
import { hasWord, sentence, t } from "./words.js";

const HASH_EVERY = 400;  // ms between looks at a hash that is being made
const OFFERED_PICTURES = 24;
const SHORT_HASH = 10;
/** Shelf -> what a prompt calls a model of it by. */
const TAGS = { loras: (name) => `<lora:${name}:1>`, embeddings: (name) => name };
const NOT_KEPT = [
  "checkpoint", "prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt", "seed", "variation_seed", "branch_step", "branch_from",
  "extensions", "preview", "batch_count", "batch_size",
];

/** `does`: {close, changed(passport or null), merge(model), convert(model), fail(error)}. */
export class Panel {
  #model = null;

  constructor(does) {
    this.does = does;
    this.element = h("div", { class: "easel-passport", hidden: true });
  }

  hide() {
    this.element.hidden = true;
    this.#model = null;
  }

  show(model) {
    const isOther = this.#model?.name !== model.name || this.#model?.shelf !== model.shelf;
    this.#model = model;
    this.element.hidden = false;
    this.element.replaceChildren(...this.#parts(model).filter(Boolean));
    if (isOther) this.element.parentElement.scrollTop = 0;
  }

  #parts(model) {
    const url = previewUrl(model);
    this.picker = h("div", { class: "easel-models-pictures", hidden: true });
    return [
      h("header", {}, h("h2", {}, model.title), button("models.close", () => this.does.close(), { id: "models_close" })),
      url && h("img", { class: "easel-passport-picture", src: url, alt: t("models.picture_of", { name: model.title }) }),
      model.problem && h("div", { class: "easel-card easel-warning", role: "status" }, h("p", {}, sentence(model.problem))),
      this.#actions(model),
      this.picker,
      this.#facts(model),
      model.words.length ? this.#words(model) : null,
      model.shelf === "checkpoints" && model.is_own ? this.#defaults(model) : null,
      model.is_own ? this.#notes(model) : h("p", { class: "easel-hint" }, t("models.elsewhere")),
      folded("models.metadata", Object.keys(model.metadata).length ? table(model.metadata) : null),
      folded("models.licence", model.licence ? h("pre", { tabindex: "0" }, model.licence) : null),
      model.is_own ? this.#trash(model) : null,
    ];
  }

  // What can be done.

  #actions(model) {
    const isDrawn = model.shelf === "checkpoints";
    return h(
      "div",
      { class: "easel-actions" },
      ...[
        !model.problem && (isDrawn || model.shelf in TAGS || model.shelf === "vae") && button("models.use", () => this.#use(model), { class: "easel-button easel-models-use" }),
        button("models.copy", () => void this.#copy(TAGS[model.shelf]?.(model.name) ?? model.name)),
        isDrawn && (!model.problem || model.can_train) && button("models.merge_this", () => this.does.merge(model)),
        (!model.problem || model.can_train) && button("models.convert", () => this.does.convert(model), { id: "models_convert" }),
        model.is_own && button("models.picture", () => void this.#pick(model), { id: "models_picture" }),
      ].filter(Boolean),
    );
  }

  /** Put it into the txt2img form, as somebody would there. */
  async #use(model) {
    openTab("tab_txt2img");
    if (model.shelf === "checkpoints") return chooseCheckpoint(model.name);
    if (model.shelf === "vae") return putIntoForm("txt2img", { vae: model.name });
    const before = drafted("txt2img").prompt ?? "";
    const called = [TAGS[model.shelf](model.name), ...(model.shelf === "loras" ? model.words.slice(0, 1) : [])].join(" ");
    return putIntoForm("txt2img", { prompt: before.trim() ? `${before.trimEnd()} ${called}` : called });
  }

  async #copy(text) {
    toast(t((await copyText(text)) ? "details.copied" : "details.not_copied"));
  }

  #try(action) {
    return action().catch((error) => {
      if (!(error instanceof ServerError)) throw error;
      this.does.fail(error);
    });
  }

  // Its picture.

  #pick(model) {
    this.picker.hidden = !this.picker.hidden;
    if (this.picker.hidden) return undefined;
    return this.#try(async () => {
      const { pictures } = await request(`api/v1/gallery?${new URLSearchParams({ limit: OFFERED_PICTURES })}`);
      const choose = (id) => this.#try(async () => this.does.changed(await setPreview(model, id)));
      const tiles = pictures.map(({ id, thumbnail, prompt }) =>
        h("button", { type: "button", title: prompt, "aria-label": prompt || t("gallery.no_prompt"), onclick: () => void choose(id) }, h("img", { src: addressOf(thumbnail), alt: "" })));
      const none = model.preview === null ? null : button("models.picture.none", () => void choose(null));
      this.picker.replaceChildren(...(tiles.length ? tiles : [h("p", {}, t("pictures.none"))]), ...(none ? [none] : []));
    });
  }

  // What is known.

  #facts(model) {
    this.hash = h("dd", { class: "easel-passport-hash" });
    this.#drawHash(model, model);
    const said = (key, value) => (hasWord(`${key}.${value}`) ? t(`${key}.${value}`) : value);
    const rows = [
      ["models.fact.kind", said("models.kind", model.kind)],
      ["models.fact.family", model.family],
      ["models.fact.task", said("models.task", model.task)],
      ["models.fact.prediction", model.prediction_type],
      ["models.fact.native_size", model.native_size ? `${model.native_size} px` : ""],
      ["models.fact.size", model.bytes ? inBytes(model.bytes) : ""],
      ["models.fact.numbers", model.numbers ? `${(model.numbers / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 })} M · ${model.precision}` : ""],
      ["models.fact.ema", model.has_ema ? t("models.fact.ema.yes") : ""],
      ["models.fact.layout", t(`models.layout.${model.layout}`)],
      ["models.fact.alias", model.alias],
      ["models.fact.file", model.file],
    ];
    const shown = rows.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)]);
    return h("dl", { class: "easel-passport-facts" }, ...shown, h("dt", {}, t("models.fact.hash")), this.hash);
  }

  #drawHash(model, { sha256, done = null, total = null, problem = null }) {
    if (model !== this.#model) return;
    if (sha256) this.hash.replaceChildren(h("code", { title: sha256 }, sha256.slice(0, SHORT_HASH)), " ", button("models.copy_hash", () => void this.#copy(sha256)));
    else if (problem) this.hash.replaceChildren(sentence(problem));
    else if (done !== null) this.hash.replaceChildren(h("progress", { max: total, value: done, "aria-label": t("models.fact.hash") }), ` ${Math.floor((100 * done) / total)} %`);
    else this.hash.replaceChildren(button("models.make_hash", () => void this.#makeHash(model), { id: "models_hash" }));
  }

  #makeHash(model) {
    return this.#try(async () => {
      let state = await makeHash(model);
      this.#drawHash(model, state);
      while (!state.sha256 && !state.problem && model === this.#model) {
        await new Promise((resolve) => setTimeout(resolve, HASH_EVERY));
        state = await getHash(model);
        this.#drawHash(model, state);
      }
    });
  }

  #words(model) {
    const chips = model.words.map((word) => h("button", { type: "button", class: "easel-chip", onclick: () => void this.#copy(word) }, word));
    return h("section", {}, h("h3", {}, t("models.words")), h("div", { class: "easel-chips" }, ...chips));
  }

  // What is kept.

  #notes(model) {
    const notes = h("textarea", { class: "easel-input", id: "models_notes", rows: "4", maxlength: "20000" });
    notes.value = model.notes;
    const tags = h("input", { type: "text", class: "easel-input", id: "models_tags", value: model.tags.join(", "), autocomplete: "off" });
    const save = () => this.#try(async () => {
      const kept = await keepNotes(model, notes.value, tags.value.split(",").map((tag) => tag.trim()).filter(Boolean));
      this.does.changed(kept);
      toast(t("models.kept"));
    });
    return h(
      "section",
      { class: "easel-models-notes" },
      h("label", { for: "models_notes" }, t("models.notes")), notes,
      h("label", { for: "models_tags" }, t("models.tags")), tags,
      button("models.keep", () => void save(), { id: "models_keep" }),
    );
  }

  /** Values that forms begin with: those of txt2img as they are now, or none of our own. */
  #defaults(model) {
    const kept = Object.entries(model.kept_defaults);
    const take = () => this.#try(async () => {
      const values = Object.fromEntries(Object.entries(drafted("txt2img")).filter(([name]) => !NOT_KEPT.includes(name)));
      this.does.changed(await keepDefaults(model, values));
      toast(t("models.defaults.kept"));
    });
    const forget = () => this.#try(async () => this.does.changed(await keepDefaults(model, {})));
    const label = (name) => (hasWord(`param.${name}.label`) ? t(`param.${name}.label`) : name);
    return h(
      "section",
      {},
      h("h3", {}, t("models.defaults")),
      h("p", { class: "easel-hint" }, t(kept.length ? "models.defaults.own" : "models.defaults.help")),
      kept.length ? folded("models.defaults.values", table(Object.fromEntries(kept.map(([name, value]) => [label(name), String(value)])))) : null,
      h("div", { class: "easel-actions" }, button("models.defaults.take", () => void take(), { id: "models_defaults" }), kept.length ? button("models.defaults.forget", () => void forget()) : null),
    );
  }

  #trash(model) {
    const token = h("input", {
      type: "password", class: "easel-input", autocomplete: "off", "aria-label": t("extensions.token"), placeholder: t("extensions.token"), id: "models_token",
      oninput: () => tab.set("operator", token.value.trim()),
    });
    token.value = tab.get("operator") ?? "";
    const operator = () => ({ "X-Easel-Operator": token.value.trim() });
    const remove = h("button", { type: "button", class: "easel-button easel-delete", id: "models_trash" }, t("models.trash"));
    remove.onclick = () => {
      if (!isSure(remove, t("models.trash"), t("models.trash.sure"))) return;
      void this.#try(async () => {
        const { id } = await throwAway(model, operator());
        this.does.changed(null);
        toast(t("models.trashed", { name: model.title }), { words: t("pictures.undo"), run: () => this.#try(() => bringBack(id, operator())) });
      });
    };
    return folded("models.trash.title", h("div", { class: "easel-models-trash" }, h("p", { class: "easel-hint" }, t("models.trash.help")), token, remove));
  }
}

const button = (words, onclick, more = {}) => h("button", { type: "button", class: "easel-button", onclick, ...more }, t(words));

const folded = (words, content) => content && h("details", {}, h("summary", {}, t(words)), content);

const table = (values) =>
  h("table", { class: "easel-info-table" }, h("tbody", {}, ...Object.entries(values).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));

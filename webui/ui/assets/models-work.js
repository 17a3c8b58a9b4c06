// The form of a merge or conversion in the Models tab, laid out from what the request says of its own fields.

import { h } from "./dom.js";
import { book } from "./jobs.js";
import { searchModels } from "./models-list.js";
import { request } from "./server.js";
import { toast } from "./toast.js";
import { hasWord, t } from "./words.js";

const KINDS = ["merge-models", "convert-model"];
const MODELS = { primary: "checkpoints", secondary: "checkpoints", tertiary: "checkpoints", baked_vae: "vae" };
/** Fields that are told by what was pressed. */
const GIVEN = ["shelf"];
/** Fields that are folded away. */
const RARE = ["block_weights", "discard", "baked_vae"];
/** Fields that are asked when it is clear of what. */
const LAST = ["precision", "name"];
const OFFERED = 30;
/** AUTOMATIC1111's element ids, as far as it has the control. */
const MERGER_IDS = {
  primary: "modelmerger_primary_model_name", secondary: "modelmerger_secondary_model_name", tertiary: "modelmerger_tertiary_model_name",
  name: "modelmerger_custom_name", method: "modelmerger_interp_method", multiplier: "modelmerger_interp_amount",
  baked_vae: "modelmerger_bake_in_vae", discard: "modelmerger_discard_weights",
};
const idOf = (kind, name) => (kind === "merge-models" && MERGER_IDS[name]) || `models_${name}`;

/** Whether a job, or a refused request, makes a model of others. */
export const isWork = ({ kind }) => KINDS.includes(kind);

export class WorkForm {
  #kind = "";
  #values = {};
  #fields = new Map();  // kind -> its parameters as the server tells them

  /** `close` is called when the reader is done with it. */
  constructor(close) {
    this.close = close;
    this.element = h("form", { class: "easel-models-work", hidden: true, onsubmit: (event) => this.#submit(event) });
  }

  hide() {
    this.element.hidden = true;
  }

  /** `values`: what the fields begin with. Throws `ServerError`. */
  async show(kind, values) {
    if (!this.#fields.has(kind)) this.#fields.set(kind, (await request(`api/v1/parameters/${kind}`)).parameters);
    this.#kind = kind;
    this.#values = { ...Object.fromEntries(this.#fields.get(kind).map((field) => [field.name, field.default ?? ""])), ...values };
    this.#draw();
    this.element.hidden = false;
    this.element.querySelector("input, select").focus({ preventScroll: true });
  }

  /** The fields that have an effect now. */
  #shown() {
    return this.#fields.get(this.#kind).filter(({ name }) => !GIVEN.includes(name) && this.#matters(name));
  }

  /** Other fields, in a form that stays as it was left: with the focus where it is, and folded open where it is open. */
  #redraw() {
    const { id } = document.activeElement;
    const isOpen = Boolean(this.element.querySelector("details")?.open);
    this.#draw();
    const rare = this.element.querySelector("details");
    if (rare) rare.open = isOpen;
    if (id) this.element.querySelector(`#${CSS.escape(id)}`)?.focus({ preventScroll: true });
  }

  #draw() {
    const shown = this.#shown();
    const fields = [...shown.filter(({ name }) => !LAST.includes(name)), ...shown.filter(({ name }) => LAST.includes(name))];
    const plain = fields.filter(({ name }) => !RARE.includes(name));
    const rare = fields.filter(({ name }) => RARE.includes(name));
    this.element.replaceChildren(
      h("header", {}, h("h2", {}, t(`models.work.${this.#kind}`)), h("button", { type: "button", class: "easel-button", onclick: () => this.close() }, t("action.close"))),
      h("p", { class: "easel-hint" }, t(`models.work.${this.#kind}.help`)),
      ...plain.map((field) => this.#control(field)),
      ...(rare.length ? [h("details", {}, h("summary", {}, t("models.work.more")), ...rare.map((field) => this.#control(field)))] : []),
      h("button", { type: "submit", class: "easel-button easel-models-go", id: this.#kind === "merge-models" ? "modelmerger_merge" : "models_start" }, t(`models.work.${this.#kind}.start`)),
    );
  }

  /** Whether a field has an effect with the method that is chosen. */
  #matters(name) {
    const { method, shelf } = this.#values;
    if (this.#kind === "convert-model") return shelf === "checkpoints" || !["layout", "ema"].includes(name);
    if (name === "tertiary") return method === "Add difference";
    return method !== "No interpolation" || !["secondary", "multiplier", "block_weights"].includes(name);
  }

  #control(field) {
    const id = idOf(this.#kind, field.name);
    const input = this.#input(field, id);
    const help = h("small", { id: `${id}_help` }, t(`param.${field.name}.help`));
    input.setAttribute("aria-describedby", help.id);
    return h("div", { class: "easel-models-field" }, h("label", { for: id }, t(`param.${field.name}.label`)), input, this.#beside(field, input), help);
  }

  #input(field, id) {
    const { name } = field;
    const value = this.#values[name];
    if (field.choices) {
      const word = (choice) => (hasWord(`choice.${name}.${choice}`) ? t(`choice.${name}.${choice}`) : choice);
      const select = h("select", { id, onchange: () => this.#set(name, select.value) }, ...field.choices.map((choice) => h("option", { value: choice, selected: choice === value }, word(choice))));
      return select;
    }
    if (field.type === "float") {
      const number = h("input", { id, type: "number", class: "easel-input", min: field.minimum, max: field.maximum, step: field.step, value, oninput: () => this.#set(name, number.valueAsNumber) });
      return number;
    }
    const text = h("input", { id, type: "text", class: "easel-input", value, autocomplete: "off", spellcheck: "false", required: field.required, oninput: () => this.#set(name, text.value.trim()) });
    if (name in MODELS || name === "source") this.#offer(text, MODELS[name] ?? this.#values.shelf);
    return text;
  }

  /** Names to choose from, as they are typed: thousands would not fit into a list. */
  #offer(input, shelf) {
    const names = h("datalist", { id: `${input.id}_names` });
    input.setAttribute("list", names.id);
    const ask = async () => {
      const { models } = await searchModels({ q: input.value.trim(), shelf, limit: OFFERED }).catch(() => ({ models: [] }));
      names.replaceChildren(...models.filter(({ problem }) => !problem).map(({ name }) => h("option", { value: name })));
    };
    input.addEventListener("focus", () => void ask(), { once: true });
    input.addEventListener("input", () => void ask());
    input.easelNames = names;
  }

  /** What stands beside an input: names to choose from, a slider for a number. */
  #beside(field, input) {
    if (input.easelNames) return input.easelNames;
    if (field.type !== "float") return null;
    const slider = h("input", {
      type: "range", min: field.minimum, max: field.maximum, step: field.step, value: input.value, "aria-label": t(`param.${field.name}.label`),
      oninput: () => {
        input.value = slider.value;
        this.#set(field.name, slider.valueAsNumber);
      },
    });
    return slider;
  }

  #set(name, value) {
    const names = () => this.#shown().map((field) => field.name).join();
    const before = names();
    this.#values[name] = value;
    if (names() !== before) this.#redraw();
  }

  #submit(event) {
    event.preventDefault();
    const fields = this.#fields.get(this.#kind);
    const asked = fields.filter(({ name, default: usual }) => (this.#matters(name) || GIVEN.includes(name)) && this.#values[name] !== (usual ?? "") && !Number.isNaN(this.#values[name]));
    const kind = this.#kind;
    book.dismissRefusals(book.refused.filter(isWork));
    void book.submitNext(kind, Object.fromEntries(asked.map(({ name }) => [name, this.#values[name]]))).then((job) => {
      if (!job) return;
      toast(t("models.work.queued", { name: job.summary }));
      this.close();
    });
  }
}

// <easel-quick>: what is set most often, beside the checkpoint at the top, for every form of pictures at once. Which
// fields stand here is an option (quick_settings); the values themselves are the forms'.

import { h, renewed } from "./dom.js";
import { fieldsOf, putIntoForm, valuesNow } from "./form.js";
import { book } from "./jobs.js";
import { option } from "./options.js";
import { getModels, ServerError } from "./server.js";
import { hasWord, t } from "./words.js";

const KINDS = ["txt2img", "img2img"];
/** AUTOMATIC1111's names, which user scripts know. */
const IDS = { vae: "sd_vae", clip_skip: "CLIP_stop_at_last_layers" };

class EaselQuick extends HTMLElement {
  #vaes = [];
  #hasAsked = false;  // for these names, since they last changed
  #draw = () => this.#update();
  #load = () => void this.#loadModels();
  #heard = () => (this.#hasAsked ? this.#update() : this.#load());

  connectedCallback() {
    document.addEventListener("easel-form", this.#draw);
    addEventListener("easel-options", this.#heard);
    book.addEventListener("models", this.#load);
    this.#load();
  }

  disconnectedCallback() {
    document.removeEventListener("easel-form", this.#draw);
    removeEventListener("easel-options", this.#heard);
    book.removeEventListener("models", this.#load);
  }

  async #loadModels() {
    this.#hasAsked = (option("quick_settings") ?? []).includes("vae");
    if (!this.#hasAsked) return this.#update();
    try {
      this.#vaes = (await getModels()).vae.map(({ name }) => name);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#hasAsked = false;
    }
    return this.#update();
  }

  #update() {
    const [kind] = KINDS;
    const fields = fieldsOf(kind);
    const names = (option("quick_settings") ?? []).filter((name) => name in fields);
    renewed(this, [names, this.#vaes], () => names.map((name) => this.#control(name, fields[name])));
    const values = valuesNow(kind);
    for (const control of this.querySelectorAll("select, input")) show(control, values[control.dataset.field]);
  }

  #control(name, field) {
    const id = `setting_${IDS[name] ?? name}`;
    const choices = name === "vae" ? ["", ...this.#vaes] : field.choices;
    const attributes = { id, class: "easel-input", "data-field": name, title: t(`param.${name}.help`) };
    const made = choices ? list(name, choices, attributes) : number(field, attributes);
    made.addEventListener("change", () => this.#put(name, made));
    return h("label", { class: "easel-quick-one" }, h("span", {}, t(`param.${name}.label`)), made);
  }

  #put(name, control) {
    const value = control.type === "number" ? Number(control.value) : control.value;
    for (const kind of KINDS) if (name in fieldsOf(kind)) void putIntoForm(kind, { [name]: value });
  }
}

function list(name, choices, attributes) {
  const words = (value) => (value === "" ? t("quick.automatic") : hasWord(`choice.${name}.${value}`) ? t(`choice.${name}.${value}`) : value);
  return h("select", attributes, ...choices.map((value) => h("option", { value }, words(value))));
}

const number = ({ minimum, maximum }, attributes) => h("input", { type: "number", min: minimum, max: maximum, step: "any", ...attributes });

/** What is being changed just now is left alone. */
function show(control, value) {
  if (value === undefined || control === document.activeElement) return;
  if (control.tagName === "SELECT" && ![...control.options].some((each) => each.value === value)) control.append(h("option", { value }, value));
  if (control.value !== String(value)) control.value = value;
}

export const define = () => customElements.define("easel-quick", EaselQuick);

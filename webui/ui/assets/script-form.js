// <easel-script kind="txt2img">: the list of scripts and the options of the chosen one, from what the server says of them.

import { h, renewed, setText } from "./dom.js";
import { chooseScript, chosenName, forgetGone, loadScripts, optionsOf, setOption } from "./scripts.js";
import { fillOption, ServerError } from "./server.js";
import { sentence, t } from "./words.js";

const LONG_TEXT = 1000;  // characters; a text that may be longer gets a box of several lines
const MOST_FILE = 1_000_000;

/** Words of an extension: in the reader's language where the extension brings them along. */
const own = (text) => sentence({ text, template: text, values: {} });

class ScriptForm extends HTMLElement {
  #scripts = [];
  #turn = 0;
  #tell = (words) => setText(this.note, words);
  #redraw = ({ detail }) => detail.kind === this.kind && this.#draw();

  connectedCallback() {
    this.kind = this.getAttribute("kind");
    if (!this.list) this.#build();
    document.addEventListener("easel-script", this.#redraw);
    void this.#load();
  }

  disconnectedCallback() {
    document.removeEventListener("easel-script", this.#redraw);
  }

  #build() {
    this.list = h("select", { class: "easel-input", id: `${this.kind}_script_list`, onchange: () => chooseScript(this.kind, this.list.value) });
    this.description = h("p", { class: "easel-script-note" });
    this.fields = h("div", { class: "easel-script-fields" });
    this.note = h("p", { class: "easel-script-note easel-script-problem", role: "status" });
    this.replaceChildren(field(t("script.label"), this.list), this.description, this.fields, this.note);
  }

  async #load() {
    this.#scripts = (await loadScripts()).filter(({ kinds }) => kinds.some((kind) => KINDS[this.kind].includes(kind)));
    const options = this.#scripts.map(({ name, title }) => h("option", { value: name }, own(title)));
    renewed(this.list, this.#scripts.map(({ name }) => name), () => [h("option", { value: "" }, t("script.none")), ...options]);
    forgetGone(this.kind);
    this.#draw();
  }

  #draw() {
    const script = this.#scripts.find(({ name }) => name === chosenName(this.kind));
    this.list.value = script?.name ?? "";
    setText(this.description, script ? own(script.description) : "");
    // Not with every letter that is typed: only another script has other fields.
    renewed(this.fields, script ?? null, () => (script ? script.options.map((option) => this.#field(script, option)) : []));
  }

  #field(script, option) {
    const value = optionsOf(this.kind, script)[option.name];
    const change = (changed) => {
      setText(this.note, "");
      setOption(this.kind, script, option.name, changed);
    };
    const id = `${this.kind}_script_${script.name}_${option.name}`;
    const control = this.#control(script, option, value, change);
    control.id = id;
    if (option.type === "bool") return h("label", { class: "easel-script-check", title: own(option.help), for: id }, control, own(option.label));
    const more = option.can_be_filled ? [this.#fillButton(script, option, control, change)] : isLong(option) ? [fileButton(control, change, this.#tell)] : [];
    return field(own(option.label), control, own(option.help), more);
  }

  #control(script, option, value, change) {
    const named = choicesOf(script, option, KINDS[this.kind]);
    if (named) {
      const list = h("select", { class: "easel-input", onchange: () => change(list.value) });
      list.append(...Object.entries(named).map(([name, shown]) => h("option", { value: name }, own(shown))));
      list.value = value;
      return list;
    }
    if (option.type === "bool") {
      const box = h("input", { type: "checkbox", onchange: () => change(box.checked) });
      box.checked = value;
      return box;
    }
    return option.type === "str" ? textBox(option, value, change, this.#tell) : numberBox(option, value, change);
  }

  #fillButton(script, option, control, change) {
    const press = async () => {
      const turn = (this.#turn += 1);
      try {
        const kind = KINDS[this.kind].find((each) => script.kinds.includes(each));
        const { value } = await fillOption(script.name, kind, option.name, optionsOf(this.kind, script));
        if (turn !== this.#turn) return;
        control.value = value;
        change(value);
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (error.told) setText(this.note, sentence(error.told));
      }
    };
    return h("button", { type: "button", class: "easel-button", onclick: press }, t("script.fill"));
  }
}

/** Requests that a tab sends. */
const KINDS = { txt2img: ["txt2img"], img2img: ["img2img", "inpaint"] };

const isLong = (option) => option.type === "str" && (option.max_length ?? 0) > LONG_TEXT && !option.choices;

/** Value -> what is shown for it; null where anything can be written. What any of the tab's kinds knows is offered. */
function choicesOf(script, option, kinds) {
  if (option.choices) return Object.fromEntries(option.choices.map((name) => [name, name]));
  const named = kinds.map((kind) => script.choices[kind]?.[option.name]).filter(Boolean);
  return named.length ? Object.assign({}, ...named) : null;
}

function field(label, control, help = "", more = []) {
  const row = more.length ? h("span", { class: "easel-script-row" }, control, ...more) : control;
  return h("label", { class: "easel-script-field" }, h("span", {}, label), row, help ? h("small", {}, help) : null);
}

function textBox(option, value, change, tell) {
  const box = isLong(option)
    ? h("textarea", { class: "easel-input", rows: option.can_be_filled ? 2 : 5, spellcheck: "false" })
    : h("input", { type: "text", class: "easel-input" });
  box.value = value;
  box.addEventListener("input", () => change(box.value));
  box.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    void takeFile(file, box, change, tell);
  });
  return box;
}

function numberBox(option, value, change) {
  const limits = { min: option.minimum, max: option.maximum, step: option.step ?? "any" };
  const box = h("input", { type: "number", class: "easel-input", ...limits });
  box.value = value;
  box.addEventListener("input", () => change(box.value === "" ? option.default : Number(box.value)));
  return box;
}

function fileButton(box, change, tell) {
  const input = h("input", { type: "file", accept: ".txt,text/plain", class: "easel-sr" });
  input.addEventListener("change", () => {
    if (input.files[0]) void takeFile(input.files[0], box, change, tell);
    input.value = "";  // the same file may be chosen again
  });
  return h("button", { type: "button", class: "easel-button", onclick: () => input.click() }, t("script.file"), input);
}

async function takeFile(file, box, change, tell) {
  if (file.size > MOST_FILE) return tell(t("script.too_long", { n: MOST_FILE.toLocaleString() }));
  box.value = await file.text();
  change(box.value);
}

export const define = () => customElements.define("easel-script", ScriptForm);

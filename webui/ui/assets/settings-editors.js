// The control of one setting, made from what the server says about it. Plain controls: no framework between.

import { h } from "./dom.js";
import { hasWord, t } from "./words.js";

/** `change` is called with a new value, of the setting's own type. `words`: {label, tokens}. */
export function editor(setting, id, words, checkpoints, change) {
  if (setting.type === "names") return names(setting, id, change);
  if (setting.type === "boolean") return flag(setting, id, change);
  if (setting.type === "integer" || setting.type === "number") return number(setting, id, change);
  if (checkpoints.length) return list(setting, id, [["", t("settings.first")], ...checkpoints.map(({ name, title }) => [name, title])], change);
  if (setting.choices) return list(setting, id, setting.choices.map((value) => [value, choice(setting.name, value)]), change);
  return text(setting, id, words, change);
}

const described = (id) => ({ id, "aria-describedby": `${id}_help` });

/** The word for a possible value; names of formats are the same in every language. */
function choice(name, value) {
  const keys = [`option.${name}.${value}`, `${name}.${value}`];
  const key = keys.find(hasWord);
  return key ? t(key) : value;
}

function flag(setting, id, change) {
  const box = h("input", { type: "checkbox", class: "easel-switch", role: "switch", ...described(id), onchange: () => change(box.checked) });
  box.checked = setting.value;
  return box;
}

function number(setting, id, change) {
  const { minimum, maximum, step } = setting;
  const box = h("input", {
    type: "number", class: "easel-input", min: minimum, max: maximum, step: step ?? "any", ...described(id),
    onchange: () => box.value.trim() !== "" && change(Number(box.value)),
  });
  box.value = setting.value;
  return box;
}

function list(setting, id, options, change) {
  const select = h("select", { class: "easel-input", ...described(id), onchange: () => change(select.value) }, ...options.map(([value, words]) => h("option", { value }, words)));
  if (!options.some(([value]) => value === setting.value)) select.append(h("option", { value: setting.value }, setting.value));
  select.value = setting.value;
  return select;
}

/** Several of the possible names, in the order of the list. */
function names(setting, id, change) {
  const boxes = setting.choices.map((name) => {
    const box = h("input", { type: "checkbox", value: name, onchange: () => change(boxes.filter((each) => each.checked).map((each) => each.value)) });
    box.checked = setting.value.includes(name);
    return box;
  });
  const label = (box) => h("label", { class: "easel-setting-name" }, box, t(hasWord(`tab.${box.value}`) ? `tab.${box.value}` : `param.${box.value}.label`));
  return h("div", { class: "easel-setting-names", role: "group", id, "aria-labelledby": `${id}_label` }, ...boxes.map(label));
}

/** A pattern of a name gets the tokens that it can hold, to press. */
function text(setting, id, { tokens }, change) {
  const box = h("input", { type: "text", class: "easel-input", spellcheck: "false", autocomplete: "off", ...described(id), onchange: () => change(box.value) });
  box.value = setting.value;
  if (!setting.name.endsWith("_pattern")) return box;
  const insert = (token) => {
    box.setRangeText(`[${token}]`, box.selectionStart, box.selectionEnd, "end");
    box.focus();
    change(box.value);
  };
  const chip = (token) => h("button", { type: "button", class: "easel-chip", onclick: () => insert(token) }, `[${token}]`);
  return h("div", { class: "easel-setting-pattern" }, box, h("details", {}, h("summary", {}, t("settings.tokens")), h("div", { class: "easel-chips" }, ...tokens.map(chip))));
}

// Which script a form uses and what it is told: kept here and not in Gradio. Draws nothing.

import { getScripts, ServerError } from "./server.js";
import { tab } from "./storage.js";

let known = [];
let asking = null;

let isKnown = false;  // whether the server has said which there are

/** Every script as /api/v1/scripts lists them; asked for once. */
export function loadScripts() {
  asking ??= getScripts().then(({ scripts }) => {
    isKnown = true;
    return (known = scripts);
  }).catch((error) => {
    asking = null;  // asked again the next time
    if (!(error instanceof ServerError)) throw error;
    return known;
  });
  return asking;
}

const kept = (kind) => tab.get(`script.${kind}`) ?? {};

/** Name of the script that a form uses; "" for none, and for one that is gone. */
export const chosenName = (kind) => nameAmong(isKnown ? known : null, String(kept(kind).name ?? ""));

/** A name if it is among these scripts; anything as long as nobody knows them. */
export const nameAmong = (scripts, name) => (scripts && !scripts.some((each) => each.name === name) ? "" : name);

/** What a script was told in a form, by option; what nobody has touched is at its default. */
export function optionsOf(kind, script) {
  const told = kept(kind).options?.[script.name] ?? {};
  return Object.fromEntries(script.options.map((option) => [option.name, fits(option, told[option.name]) ? told[option.name] : option.default]));
}

const TYPES = { bool: "boolean", int: "number", float: "number", str: "string" };
const fits = (option, value) => typeof value === TYPES[option.type];

export function chooseScript(kind, name) {
  keep(kind, { ...kept(kind), name });
}

/** A chosen script that the server does not have any more is chosen no longer. */
export function forgetGone(kind) {
  if (kept(kind).name && !chosenName(kind)) chooseScript(kind, "");
}

export function setOption(kind, script, option, value) {
  const { options = {}, ...rest } = kept(kind);
  keep(kind, { ...rest, options: { ...options, [script.name]: { ...options[script.name], [option]: value } } });
}

function keep(kind, value) {
  tab.set(`script.${kind}`, value);
  document.dispatchEvent(new CustomEvent("easel-script", { detail: { kind } }));
}

/** What is sent along with a form's request: {script, options}; null for a plain job. */
export function chosenScript(kind) {
  const name = chosenName(kind);
  if (!name) return null;
  const script = known.find((each) => each.name === name);
  return { script: name, options: script ? optionsOf(kind, script) : (kept(kind).options?.[name] ?? {}) };
}

export const titleOf = (name) => known.find((script) => script.name === name)?.title ?? name;

// The reader's language: the same files that Gradio's labels come from.

import { server } from "./server.js";

export const LANGUAGES = ["en", "ko"];

/** navigator.language is already the reader's choice when there is one, see early.js. */
export const language = LANGUAGES.find((known) => navigator.language.toLowerCase().startsWith(known)) ?? "en";

/** The text behind a key, with {name} replaced. An unknown key shows itself, so that it gets noticed. */
export function t(key, values = {}) {
  return filled(hasWord(key) ? words[key] : key, values);
}

/** The same in English, by which people know things from elsewhere. */
export const inEnglish = (key, values = {}) => filled(Object.hasOwn(english, key) ? english[key] : key, values);

const filled = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));

/** Whether there is a text behind the key. */
export const hasWord = (key) => Object.hasOwn(words, key);

/**
 * What the server says, {text, template, values}, in the reader's language; its English where there is no translation.
 * Values are text or sentences themselves (webui/sentences.py). The result is text and never markup.
 */
export function sentence({ text, template, values }) {
  const key = hasWord(template) ? template : keys.get(template);  // a field's label or help, quoted in a sentence
  if (!key) return text;
  const told = Object.entries(values).map(([name, value]) => [name, value?.template ? sentence(value) : value]);
  return t(key, Object.fromEntries(told));
}

async function load(path) {
  try {
    return await (await fetch(server(path))).json();
  } catch {
    return {};  // keys are readable English, and the connection line says the rest
  }
}

const isOther = language !== "en";
const [english, own, theirs] = await Promise.all([
  load("easel/languages/en.json"),
  isOther ? load(`easel/languages/${language}.json`) : {},
  isOther ? load(`api/v1/words/${language}`) : {},  // of extensions
]);
const words = { ...theirs, ...english, ...own };
const keys = new Map(Object.entries(english).map(([key, text]) => [text, key]));

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

async function load(code) {
  try {
    return await (await fetch(server(`easel/languages/${code}.json`))).json();
  } catch {
    return {};  // keys are readable English, and the connection line says the rest
  }
}

const [english, own] = await Promise.all([load("en"), language === "en" ? {} : load(language)]);
const words = { ...english, ...own };
const keys = new Map(Object.entries(english).map(([key, text]) => [text, key]));

// The reader's language: the same files that Gradio's labels come from.

import { server } from "./server.js";

export const LANGUAGES = ["en", "ko"];

/** navigator.language is already the reader's choice when there is one, see early.js. */
export const language = LANGUAGES.find((known) => navigator.language.toLowerCase().startsWith(known)) ?? "en";

/** The text behind a key, with {name} replaced. An unknown key shows itself, so that it gets noticed. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Whether there is a text behind the key. */
export const hasWord = (key) => key in words;

async function load() {
  try {
    return await (await fetch(server(`easel/languages/${language}.json`))).json();
  } catch {
    return {};  // keys are readable English, and the connection line says the rest
  }
}

const words = await load();

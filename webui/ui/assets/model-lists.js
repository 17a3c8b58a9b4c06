// The choices of fields that name files: they follow the models folder.

import { formStarted } from "./form.js";
import { book } from "./jobs.js";
import { getModels, getUpscalers, ServerError } from "./server.js";
import { whenThere } from "./tabs.js";

const SAME = { __type__: "update" };

/** Gradio's answer to a click on the hidden button. Each list: what comes first, then a shelf; what is chosen stays. */
export async function reloadModelLists(lists) {
  try {
    const [models, { upscalers }] = await Promise.all([getModels(), getUpscalers()]);
    const usable = (shelf) => models[shelf].filter(({ problem }) => !problem).map(({ name }) => name);
    const names = ({ first, shelf }) => [...first, ...(shelf === "upscalers" ? upscalers : usable(shelf))];
    return lists.map((list) => ({ ...SAME, choices: names(list).map((name) => [name, name]) }));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
    return lists.map(() => SAME);
  }
}

export function followModels(tabs) {
  for (const tab of tabs) {
    const button = `#${tab}_reload_models`;
    void formStarted(tab).then(() => whenThere(button)).then((found) => found.click());
    book.addEventListener("models", () => document.querySelector(button)?.click());
  }
}

// What is set for every page (webui/options.py). The server puts it into the page, and tells of every change.

import { book } from "./jobs.js";

const now = (globalThis.easelOptions ??= {});

/** Value of an option, undefined for one that there is not. */
export const option = (name) => now[name];

export const optionNames = () => Object.keys(now);

/** Take values over, and tell the document of it: early.js and whoever shows them. */
export function takeOptions(values) {
  Object.assign(now, values);
  dispatchEvent(new Event("easel-options"));
}

export const followOptions = () => book.addEventListener("options", ({ detail }) => takeOptions(detail));

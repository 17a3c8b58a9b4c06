// "Copy as curl" and "Copy as Python": a form or a picture as a request that programs can send.

import { copyText, h } from "./dom.js";
import { getSnippets, ServerError } from "./server.js";
import { toast } from "./toast.js";
import { sentence, t } from "./words.js";

/** Ways of writing a request down. */
export const WAYS = ["curl", "python"];

/** Buttons that copy what makes this picture again. */
export const codeButtons = (kind, values) =>
  WAYS.map((way) =>
    h("button", { type: "button", class: "easel-button", "data-code": way, onclick: () => void copyAs(way, kind, values) }, t(`code.${way}`)),
  );

/** Copy a request; what became of it is said in a toast. */
export async function copyAs(way, kind, values, styles = []) {
  try {
    const told = await getSnippets(kind, values, styles);
    toast(t((await copyText(told[way])) ? "code.copied" : "details.not_copied"));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    toast(error.told ? sentence(error.told) : t(`error.${error.kind}`));
  }
}

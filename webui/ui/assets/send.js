// "Send to": values, and a picture, on their way into a form. Whoever has a form of that kind answers the event.

import { h } from "./dom.js";
import { knownForms } from "./form.js";
import { hasWord, t } from "./words.js";

/** Tell every form: `easel-send` with detail {kind, values, picture}; `picture` is the address of one, or null. */
export function sendTo(kind, values, picture = null) {
  document.dispatchEvent(new CustomEvent("easel-send", { detail: { kind, values, picture } }));
}

/** One button for each form on the page; those that begin with a picture only where there is one. */
export function sendButtons(values, picture = null, after = () => {}) {
  const kinds = knownForms().filter((kind) => hasWord(`tab.${kind}`) && (kind === "txt2img" || picture));
  return kinds.map((kind) => {
    const send = () => {
      after();
      sendTo(kind, values, picture);
    };
    const attributes = { type: "button", class: "easel-button easel-send", "data-kind": kind, onclick: send };
    return h("button", attributes, t("send.to", { tab: t(`tab.${kind}`) }));
  });
}

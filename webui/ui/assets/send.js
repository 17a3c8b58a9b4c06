// "Send to": values, and a picture, on their way into a form. Whoever has a form of that kind answers the event.

import { h } from "./dom.js";
import { t } from "./words.js";

/** Tell every form: `easel-send` with detail {kind, values, picture}; `picture` is an address or a file, or null. */
export function sendTo(kind, values, picture = null) {
  document.dispatchEvent(new CustomEvent("easel-send", { detail: { kind, values, picture } }));
}

/** Buttons that send the values to txt2img, and the picture with them to where one is the beginning. */
export function sendButtons(values, picture, after = () => {}) {
  const { strength: _strength, ...others } = values;  // that of another picture
  const hasValues = Object.keys(values).length > 0;
  return [
    hasValues && button("txt2img", t("send.to", { tab: t("tab.txt2img") }), () => sendTo("txt2img", values), after),
    button("img2img", t("details.send.img2img"), () => sendTo("img2img", others, picture), after),
    button("inpaint", t("details.send.inpaint"), () => sendTo("inpaint", others, picture), after),
  ].filter(Boolean);
}

function button(kind, words, send, after) {
  const press = () => {
    after();
    send();
  };
  return h("button", { type: "button", class: "easel-button easel-send", "data-kind": kind, onclick: press }, words);
}

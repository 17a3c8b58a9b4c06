// A line at the bottom of the page that says what has happened and may offer one thing to do about it.

import { h } from "./dom.js";
import { t } from "./words.js";

const SHOWN_FOR = 8000;
const WITH_ACTION_FOR = 15_000;

let box = null;
let timer = null;

/** A modal dialog covers all else and takes its presses, so the line is inside while one is open, and outlives it. */
function settle() {
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  const home = dialog ?? document.querySelector(".gradio-container");
  if (box.parentElement === home) return;
  home.append(box);
  dialog?.addEventListener("close", settle, { once: true });
}

/** `action`: {words, run}. The line before goes away. */
export function toast(text, action = null) {
  box ??= h("div", { class: "easel-toast", role: "status", "aria-live": "polite" });
  settle();
  clearTimeout(timer);
  const hide = () => box.replaceChildren();
  const run = () => {
    hide();
    void action.run();
  };
  box.replaceChildren(
    h(
      "div",
      { class: "easel-toast-line" },
      h("span", {}, text),
      action && h("button", { type: "button", class: "easel-button", onclick: run }, action.words),
      h("button", { type: "button", class: "easel-toast-close", "aria-label": t("action.dismiss"), onclick: hide }, "×"),
    ),
  );
  timer = setTimeout(hide, action ? WITH_ACTION_FOR : SHOWN_FOR);
}

// The operator's token: kept for this tab of the browser, asked for only where the page is open to a network.

import { h } from "./dom.js";
import { tab } from "./storage.js";
import { t } from "./words.js";

export const operatorToken = () => tab.get("operator") ?? "";

/** A box for the token, with a line that says why. */
export function operatorBox(id) {
  const input = h("input", {
    type: "password", class: "easel-input", id, autocomplete: "off", placeholder: t("extensions.token"),
    oninput: () => tab.set("operator", input.value.trim()),
  });
  input.value = operatorToken();
  return h("label", { class: "easel-extensions-token" }, h("span", {}, t("operator.why")), input);
}

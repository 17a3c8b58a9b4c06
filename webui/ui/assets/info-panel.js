// What a picture says about how it was made: tool, prompts, a table of everything, what cannot be taken over, raw text.

import { copyText, h } from "./dom.js";
import { sentence, t } from "./words.js";

const COPIED_FOR = 1500;
const FEW = 3;

/** Elements for what /api/v1/picture-info answers. */
export function infoPanel(info) {
  return [
    h("p", { class: "easel-info-tool" }, info.tool ? t("info.tool", { tool: info.tool }) : t("info.no_tool")),
    info.told && h("p", { class: "easel-info-told" }, sentence(info.told)),
    text("param.prompt.label", info.values.prompt),
    text("param.negative_prompt.label", info.values.negative_prompt),
    table(info.fields),
    unmapped(info.unmapped),
    raw(info.parameters),
  ].filter(Boolean);
}

const text = (label, value) =>
  value ? h("section", { class: "easel-info-text" }, h("h3", {}, t(label)), h("p", {}, value)) : null;

function table(fields) {
  const rows = Object.entries(fields).filter(([, value]) => value !== "");
  if (!rows.length) return null;
  const body = rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)));
  return h("table", { class: "easel-info-table" }, h("caption", { class: "easel-sr" }, t("info.fields")), h("tbody", {}, ...body));
}

function unmapped(items) {
  if (!items.length) return null;
  const lines = items.map(({ name, value, why }) => h("li", {}, h("strong", {}, value ? `${name}: ${value}` : name), " ", sentence(why)));
  return h("details", { class: "easel-parameters easel-unmapped", open: items.length <= FEW }, h("summary", {}, t("info.unmapped", { n: items.length })), h("ul", {}, ...lines));
}

function raw(parameters) {
  if (!parameters) return null;
  const copy = h("button", { type: "button", class: "easel-button" }, t("details.copy"));
  copy.addEventListener("click", async () => {
    copy.textContent = (await copyText(parameters)) ? t("details.copied") : t("details.not_copied");
    setTimeout(() => (copy.textContent = t("details.copy")), COPIED_FOR);
  });
  return h("details", { class: "easel-parameters" }, h("summary", {}, t("info.raw")), h("pre", { tabindex: "0" }, parameters), copy);
}

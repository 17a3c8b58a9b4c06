// What the picture on display was made with, and what can be done with it.

import { codeButtons } from "./code.js";
import { copyText, h } from "./dom.js";
import { sendToExtras } from "./extras.js";
import { putPictureIntoForm } from "./form.js";
import { pictureUrl } from "./gallery.js";
import { valuesOfPicture } from "./picture-values.js";
import { duration } from "./progress.js";
import { sendToSource } from "./source.js";
import { sentence, t } from "./words.js";

const COPIED_FOR = 1500;

/** `compare`: opens the comparison with another result; null where there is no other. */
export function details(kind, { picture, job }, compare = null) {
  const actions = [download(picture), copyButton(picture), useButton(kind, picture, job), compare && compareButton(compare), ...sendButtons(kind, picture, job)];
  return [
    h("div", { class: "easel-actions" }, ...actions),
    facts(picture, job),
    ...receipt(job),
    h(
      "details",
      { class: "easel-parameters" },
      h("summary", {}, t("details.all")),
      h("pre", { tabindex: "0" }, picture.parameters),
      h("div", { class: "easel-actions" }, ...codeButtons(job.kind, alone(picture, job))),
    ),
  ];
}

function download(picture) {
  // Called as its file: the server says how.
  return h("a", { class: "easel-button", href: pictureUrl(picture), download: "" }, t("details.download"));
}

function copyButton(picture) {
  const button = h("button", { type: "button", class: "easel-button easel-copy" }, t("details.copy"));
  button.addEventListener("click", async () => {
    button.textContent = (await copyText(picture.parameters)) ? t("details.copied") : t("details.not_copied");
    setTimeout(() => (button.textContent = t("details.copy")), COPIED_FOR);
  });
  return button;
}

function useButton(kind, picture, job) {
  const use = () => putPictureIntoForm(kind, valuesOfPicture({ picture, job }));
  return h("button", { type: "button", class: "easel-button easel-use", onclick: use }, t("details.use"));
}

const compareButton = (compare) =>
  h("button", { type: "button", class: "easel-button easel-compare-open", title: t("compare.open.title"), onclick: compare }, t("compare.open"));

/** The picture as the beginning of another: with all that it was made with but the strength, which was another one's. */
function sendButtons(kind, picture, job) {
  const { strength: _strength, ...values } = job.kind === "upscale" ? {} : valuesOfPicture({ picture, job });
  const url = pictureUrl(picture);
  const button = (where, send) =>
    h("button", { type: "button", class: "easel-button", id: `${kind}_send_to_${where}`, onclick: send }, t(`details.send.${where}`));
  return [
    ...["img2img", "inpaint"].map((mode) => button(mode, () => sendToSource(mode, url, values))),
    button("extras", () => sendToExtras(url)),
  ];
}

/** The request that makes this picture and no other. */
function alone(picture, job) {
  const values = valuesOfPicture({ picture, job });
  return "seed" in values ? { ...values, batch_count: 1, batch_size: 1 } : values;
}

/** An enlarged picture has no seed. */
const seedOf = (picture, job) => ("seed" in job.request ? { seed: picture.seed } : {});

function facts(picture, job) {
  const { timings } = job;
  const request = { ...job.request, ...picture.wording };
  const rows = [
    ["param.prompt.label", request.prompt],
    ["param.negative_prompt.label", request.negative_prompt],
    ["param.seed.label", seedOf(picture, job).seed],
    ["details.size", `${picture.width} × ${picture.height}`],
    ["param.sampler.label", [request.sampler, request.schedule].filter((name) => name && name !== "Automatic").join(", ")],
    ["param.num_inference_steps.label", request.num_inference_steps],
    ["param.guidance_scale.label", request.guidance_scale],
    ["param.strength.label", request.strength],
    ["param.checkpoint.label", request.checkpoint],
    ["param.upscaler.label", request.upscaler],
    ["details.time", timings?.total ? duration(timings.total) : ""],
  ];
  const filled = rows.filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return h("dl", { class: "easel-facts" }, ...filled.map(([key, value]) => fact(key, value)));
}

/** What happened on the way, in order. */
function receipt(job) {
  if (!job.receipt?.length) return [];
  const lines = job.receipt.map((told) => h("li", {}, sentence(told)));
  return [h("details", { class: "easel-receipt" }, h("summary", {}, t("details.receipt")), h("ol", {}, ...lines))];
}

const fact = (key, value) =>
  h("div", { class: key.includes("prompt") ? "easel-wide" : "" }, h("dt", {}, t(key)), h("dd", {}, String(value)));

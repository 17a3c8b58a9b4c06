// "Edit" in the queue: what a waiting job was asked for, back in the tab that it came from. Cancels nothing.

import { originOf } from "./branch.js";
import { upscalersLoaded } from "./extras.js";
import { formStarted, putIntoForm } from "./form.js";
import { getInput } from "./server.js";
import { chooseStyles } from "./styles.js";
import { openTab, whenThere } from "./tabs.js";

/** Kind of job -> function of it that puts it back. */
const BACK = { txt2img: intoText, img2img: intoSource, inpaint: intoSource, upscale: intoExtras };

/** Whether there is a tab that the job fits into. */
export const canEdit = ({ kind }) => kind in BACK;

/** Open the tab with everything that the job was asked for. False when a card there says why not; throws `ServerError`. */
export const putBack = (job) => BACK[job.kind](job);

function intoText({ request }) {
  return intoForm("txt2img", request);
}

async function intoSource({ kind, request }) {
  const [image, mask] = await Promise.all([request.image, request.mask].map((id) => (id ? getInput(id) : null)));
  openTab("tab_img2img");
  const source = await whenThere('easel-source[kind="img2img"]');
  return (await source.take(image, kind, mask)) && intoForm("img2img", request);
}

async function intoExtras({ request }) {
  const image = await getInput(request.image);
  openTab("tab_extras");
  (await whenThere("easel-extras")).take([image]);
  await upscalersLoaded;
  return intoForm("extras", request);
}

/** The prompts have the styles in them already. */
async function intoForm(tab, request) {
  openTab(`tab_${tab}`);
  await Promise.all([formStarted(tab), whenThere(`#${tab}_fill`)]);
  if ("prompt" in request) chooseStyles(tab, []);
  await putIntoForm(tab, request, request.branch_step ? { step: request.branch_step, from: originOf(request) } : null);
  return true;
}

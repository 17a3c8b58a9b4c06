// The fields of a form in groups, as a person takes them along into a preset or leaves them out.

import { fieldsOf } from "./form.js";
import { labelsAround } from "./page-contents.js";
import { t } from "./words.js";

/** Fields that stand under no folded heading. */
const OPEN = {
  prompts: ["prompt", "negative_prompt"],
  checkpoint: ["checkpoint"],
  size: ["width", "height"],
  basics: ["num_inference_steps", "guidance_scale", "strength"],
  seed: ["seed"],
};
/** What most presets are not about. */
const OFF = ["prompts", "seed"];

/** [{id, title, names, isOff}]: every field of the form is in exactly one. */
export function groupsOf(kind) {
  const groups = new Map();
  for (const [name, { element }] of Object.entries(fieldsOf(kind))) {
    const open = Object.keys(OPEN).find((id) => OPEN[id].includes(name));
    const heading = labelsAround(element).at(-1);
    const [id, title] = open ? [open, t(`presets.group.${open}`)] : heading ? [heading, t(heading)] : ["other", t("presets.group.other")];
    const group = groups.get(id) ?? { id, title, names: [], isOff: OFF.includes(id) };
    group.names.push(name);
    groups.set(id, group);
  }
  return [...groups.values()];
}

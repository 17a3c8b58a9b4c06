// The presets as the server has them, and which of them a form begins with. What is done with them is presets.js.

import { getPresets, ServerError } from "./server.js";

const DEFAULT = "default";

let presets = [];
let loading = null;

/** Ask for them once; later answers of the server come by `takePresets`. */
export const loadPresets = () => (loading ??= ask());

async function ask() {
  try {
    takePresets(await getPresets());
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
    loading = null;
  }
}

export function takePresets(answer) {
  presets = answer.presets;
  document.dispatchEvent(new Event("easel-presets"));
}

/** Those of a tab, in the order in which they were made. */
export const presetsOf = (kind) => presets.filter(({ tab }) => tab === kind);

export const isDefault = ({ name }) => name === DEFAULT;

/** Values that an untouched form of the tab has. */
export const defaultPreset = (kind) => presetsOf(kind).find(isDefault)?.values ?? {};

/** Values that come with a checkpoint. */
export const checkpointPreset = (kind, checkpoint) =>
  presetsOf(kind).find((preset) => preset.checkpoint && preset.checkpoint === checkpoint)?.values ?? {};

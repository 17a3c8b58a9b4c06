// A form's values: restored when the page opens, remembered on input, sent as one request.
// Gradio holds the controls; webui/ui/form.py wires them to the functions exported here.

import { branchOf, setBranch } from "./branch.js";
import { book } from "./jobs.js";
import { keepStep } from "./form-history.js";
import { option } from "./options.js";
import { checkpointPreset, defaultPreset, loadPresets } from "./preset-list.js";
import { getCheckpoints, refreshCheckpoints as askForRefresh, ServerError } from "./server.js";
import { browser, tab } from "./storage.js";
import { chooseStyles, chosenStyles } from "./styles.js";
import { chosenScript } from "./scripts.js";
import { flat, nested } from "./option-names.js";
import { isTabOpen, openTab, whenThere } from "./tabs.js";
import { toast } from "./toast.js";
import { isTouched, unlessTouched } from "./touched.js";
import { t } from "./words.js";

const SAVE_DELAY = 300;
const WATCHED = ["input", "change", "click", "keyup"];
const KEPT_ON_RESET = ["prompt", "negative_prompt"];
/** Fields that a picture names only if it was made with them. */
const OFF_UNLESS_TOLD = /^(hires|variation_strength$|seed_resize_|refiner|tiling$|soft_|outpaint_|color_correction$|vae$)/;

/** Kind -> {spec, names, now, checkpoint, pending, tellFilled}: what startForm was told, the values, the checkpoint in the
    form, values to fill and who waits for that. */
const forms = new Map();
let checkpoints = { checkpoints: [], default: "" };

/** Gradio's load event: the values that the controls get. What the reader has typed by then stays. */
export async function startForm(spec, values) {
  const form = { spec, names: Object.keys(spec.fields), now: {}, pending: {}, tellFilled: () => {} };
  forms.set(spec.kind, form);
  await Promise.all([loadCheckpoints(getCheckpoints), loadPresets()]);
  const fresh = { ...named(form, values), ...fitting(form, defaultPreset(spec.kind)) };
  const saved = tab.get(`form.${spec.kind}`) ?? browser.get(`form.${spec.kind}`) ?? {};
  const restored = { ...fresh, ...fitting(form, saved) };
  if (draws(form)) form.checkpoint = restored.checkpoint = knownCheckpoint(restored.checkpoint);
  form.now = restored;
  keepStep(spec.kind, restored);
  watch(spec.kind);
  setTimeout(() => {  // when Gradio has drawn the values
    tellStarted(spec.kind);
    announce(spec.kind);
  });
  const elements = form.names.map((name) => spec.fields[name].element);
  if (elements.some(isTouched)) remember(spec.kind);
  const shown = { ...restored, checkpoint: checkpointUpdate(restored.checkpoint) };
  return form.names.map((name, i) => unlessTouched(elements[i], shown[name]));
}

/** Remember everything typed, for this tab and for the next one. */
export function saveForm(kind, values) {
  const form = forms.get(kind);
  if (!form) return;
  const current = named(form, values);
  form.now = current;
  for (const storage of [tab, browser]) storage.set(`form.${kind}`, current);
  keepStep(kind, current);
  announce(kind);
  if (draws(form) && current.checkpoint !== form.checkpoint) followCheckpoint(form, current);
}

/** Send the form as one job, or as a run of the script that is chosen. */
export const submitForm = (kind, names, values) =>
  void book.submit(kind, { ...valuesOf(kind, names, values), ...branchOf(kind) }, chosenStyles(kind), chosenScript(kind));

/** What the form says, remembered. An emptied number is left out, which asks for the field's default. */
export function valuesOf(kind, names, values) {
  if (forms.has(kind)) saveForm(kind, values);
  return asked(kind, Object.fromEntries(names.map((name, i) => [name, values[i]])));
}

/** Values of a form as a request has them. */
const asked = (kind, values) =>
  nested(Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)), forms.get(kind)?.spec.fields ?? {});

/** What the form would ask for now, a moment behind what is typed. */
export const drafted = (kind) => asked(kind, remembered(kind));

/** Those of a form's values that a request of this kind has: the form of img2img has the fields of inpainting, too. */
export function ofKind(tab, kind, values) {
  const names = forms.get(tab)?.spec.requests[kind] ?? [];
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));
}

/** The values of a form as they were last written down, a moment behind what is typed. */
export function remembered(kind) {
  const kept = tab.get(`form.${kind}`);
  return kept !== null && typeof kept === "object" && !Array.isArray(kept) ? kept : {};
}

/** What is known of a form's fields, by name: {type, default, minimum, maximum, choices, element}; none before it has started. */
export const fieldsOf = (kind) => forms.get(kind)?.spec.fields ?? {};

/** Of values for a form, the names of those that it cannot take. */
export const unfit = (kind, values) => Object.keys(values).filter((name) => !(name in fieldsOf(kind) && fits(forms.get(kind), name, values[name])));

/** The values of a form, also of one that nobody has touched; a moment behind what is typed. */
export const valuesNow = (kind) => forms.get(kind)?.now ?? {};

/** Tell whoever follows a form that its values are others now. */
const announce = (kind) => document.dispatchEvent(new CustomEvent("easel-form", { detail: { kind } }));

/** Gradio's answer to a click on the hidden fill button: the values now, with the pending ones put in. */
export function fillForm(kind, values) {
  const form = forms.get(kind);
  const filled = { ...named(form, values), ...form.pending };
  form.pending = {};
  form.checkpoint = filled.checkpoint;
  remember(kind);
  form.tellFilled();
  return form.names.map((name) => filled[name]);
}

/**
 * Put values into a form; what the form does not know or its limits do not allow is left as it is. A tab that was never
 * open gets them when it is opened. Resolves when they are in, which is never where others come in between.
 */
export async function putIntoForm(kind, values) {
  const form = forms.get(kind);
  if (!form) return;
  Object.assign(form.pending, fitting(form, flat(values, form.spec.fields)));
  const filled = new Promise((resolve) => (form.tellFilled = resolve));
  (await whenThere(`#${kind}_fill`)).click();
  await filled;
}

/**
 * Put in what a picture was made with: what it does not name is off, and its prompts have the styles in them already.
 * `preview`: of the step that it branches from, if it does and somebody has it.
 */
export function putPictureIntoForm(kind, values, preview = null) {
  const form = forms.get(kind);
  if (!form || !Object.keys(values).length) return;
  setBranch(kind, values.branch_step ? { step: values.branch_step, from: values.branch_from, preview } : null);
  if ("prompt" in values) chooseStyles(kind, []);
  const kept = [!option("send_seed") && "seed", !option("send_size") && "width", !option("send_size") && "height"];
  const sent = Object.fromEntries(Object.entries(values).filter(([name]) => !kept.includes(name)));
  const off = form.names.filter((name) => OFF_UNLESS_TOLD.test(name)).map((name) => [name, form.spec.fields[name].default]);
  void putIntoForm(kind, { ...Object.fromEntries(off), extensions: {}, ...sent });
}

/** "Send to" from anywhere on the page. Sent with a picture, it is for source.js. */
document.addEventListener("easel-send", ({ detail: { kind, values, picture } }) => {
  if (picture || !forms.has(kind)) return;
  putPictureIntoForm(kind, values);
  openTab(`tab_${kind}`);
});

/** Values of a form that nobody has touched, for the checkpoint that is chosen. What was written stays. */
export function resetForm(kind) {
  const form = forms.get(kind);
  if (!form) return;
  setBranch(kind, null);
  const values = Object.entries(recommended(form, form.checkpoint)).filter(([name]) => !KEPT_ON_RESET.includes(name));
  void putIntoForm(kind, Object.fromEntries(values));
}

/** "Reuse seed": what the result shows; the seed in the form when there is no picture yet. */
export function reuseSeed(kind, [seed]) {
  remember(kind);
  return document.querySelector(`easel-result[kind="${kind}"]`)?.seed ?? seed;
}

/** Look at the models folder again and offer what is there. */
export async function refreshCheckpoints([current]) {
  await loadCheckpoints(askForRefresh);
  return checkpointUpdate(knownCheckpoint(current));
}

/** The models folder has changed: offer what the server knows by now. */
export async function reloadCheckpoints([current]) {
  await loadCheckpoints(getCheckpoints);
  if (wanted !== null) for (const kind of forms.keys()) remember(kind);
  const shown = knownCheckpoint(wanted ?? current);
  wanted = null;
  return checkpointUpdate(shown);
}

let wanted = null;

/** Choose a checkpoint as if by hand: every form takes its recommendations over. */
export function chooseCheckpoint(name) {
  wanted = name;
  press("easel_reload_checkpoints");
}

/** All checkpoints with title, size and problem, and the name of the default one. */
export const knownCheckpoints = () => checkpoints;

const started = new Set();

/** Resolves when the form of a tab holds what was remembered. */
export const formStarted = (kind) =>
  new Promise((resolve) => {
    const look = () => started.has(kind) && resolve(document.removeEventListener("easel-form", look));
    document.addEventListener("easel-form", look);
    look();
  });

/** For tests: which forms hold what they held at the last visit. */
function tellStarted(kind) {
  document.documentElement.dataset.easelStarted = [...started.add(kind)].join(" ");
}

let tellLoaded;
/** Resolves when the checkpoints have been asked for the first time, whatever came of it. */
export const checkpointsLoaded = new Promise((resolve) => (tellLoaded = resolve));

async function loadCheckpoints(ask) {
  try {
    checkpoints = await ask();
    book.knowCheckpoints(checkpoints.checkpoints.length);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
  } finally {
    tellLoaded();
  }
}

const checkpointNamed = (name) => checkpoints.checkpoints.find((checkpoint) => checkpoint.name === name);
const knownCheckpoint = (name) => (checkpointNamed(name) || !checkpoints.default ? name : checkpoints.default);

function checkpointUpdate(value) {
  if (!checkpoints.checkpoints.length) return value;
  const choices = checkpoints.checkpoints.map(({ name, title, problem }) => [problem ? `⚠ ${title}` : title, name]);
  return { __type__: "update", choices, value };
}

/** Whether the form has a checkpoint, whose recommendations it follows. */
const draws = (form) => "checkpoint" in form.spec.fields;

const named = (form, values) => Object.fromEntries(form.names.map((name, i) => [name, values[i]]));

const fitting = (form, values) =>
  Object.fromEntries(form.names.filter((name) => fits(form, name, values[name])).map((name) => [name, values[name]]));

function fits(form, name, value) {
  const { type, minimum, maximum, choices } = form.spec.fields[name];
  if (typeof value !== type) return false;
  if (name === "checkpoint") return Boolean(checkpointNamed(value));
  if (type === "number") return Number.isFinite(value) && !(value < minimum) && !(value > maximum);
  return !choices || choices.includes(value);
}

/** The page's defaults with a checkpoint's own on top. */
function recommended(form, checkpoint) {
  const defaults = Object.fromEntries(form.names.map((name) => [name, form.spec.fields[name].default]));
  const own = fitting(form, checkpointNamed(checkpoint)?.defaults ?? {});
  const preset = { ...fitting(form, defaultPreset(form.spec.kind)), ...fitting(form, checkpointPreset(form.spec.kind, checkpoint)) };
  return { ...defaults, ...own, ...preset, checkpoint };
}

/** Another checkpoint was chosen: values that are still the last one's defaults become the new one's. */
function followCheckpoint(form, current) {
  const before = recommended(form, form.checkpoint);
  const after = recommended(form, current.checkpoint);
  form.checkpoint = current.checkpoint;
  const untouched = form.names.filter((name) => name !== "checkpoint" && current[name] === before[name]);
  const changes = Object.fromEntries(untouched.filter((n) => after[n] !== before[n]).map((n) => [n, after[n]]));
  const kind = form.spec.kind;
  const preset = fitting(form, checkpointPreset(kind, current.checkpoint));
  const wished = Object.fromEntries(Object.entries(preset).filter(([name, value]) => value !== current[name]));
  if (Object.keys({ ...changes, ...wished }).length) void putIntoForm(kind, { ...changes, ...wished });
  if (Object.keys(wished).length && isTabOpen(`tab_${kind}`)) tellApplied(kind, current);
}

/** The values that somebody has put aside for this checkpoint are in the form now. */
function tellApplied(kind, { checkpoint: name, ...before }) {
  const told = t("presets.with_checkpoint", { checkpoint: checkpointNamed(name)?.title ?? name });
  toast(told, { words: t("form.undo"), run: () => putIntoForm(kind, before) });
}

const timers = new Map();

function watch(kind) {
  const later = (event) => {
    if (event.isTrusted) remember(kind);  // not our own clicks on the hidden buttons
  };
  for (const type of WATCHED) document.addEventListener(type, later, { capture: true });
  addEventListener("pagehide", () => press(`${kind}_save`));
}

function remember(kind) {
  clearTimeout(timers.get(kind));
  timers.set(kind, setTimeout(() => press(`${kind}_save`), SAVE_DELAY));
}

const press = (id) => document.getElementById(id)?.click();

book.addEventListener("models", () => press("easel_reload_checkpoints"));
document.addEventListener("easel-put", ({ detail }) => void putIntoForm(detail.kind, detail.values));

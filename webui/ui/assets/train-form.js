// The Train tab's form: one control per field for all kinds of training. Shows the fields of the chosen kind, gives
// them defaults that suit it, remembers what was typed and sends the request. webui/ui/train.py wires it.

import { h, renewed } from "./dom.js";
import { checkpointsLoaded, knownCheckpoints } from "./form.js";
import { book, isFinal } from "./jobs.js";
import { getModels, ServerError } from "./server.js";
import { browser, tab } from "./storage.js";
import { unlessTouched } from "./touched.js";
import { t } from "./words.js";

const SAVE_DELAY = 250;
const WATCHED = ["input", "change", "click", "keyup"];
const MODELS = { checkpoint: "checkpoints", first_stage: "first_stages", text_encoder: "checkpoints" };
/** What a person has written rather than chosen: never replaced by a default. */
const WRITTEN = ["name", "trigger", "token", "sample_prompt"];
const SHORT = {
  "train-lora": "lora",
  "train-embedding": "embedding",
  "train-controlnet": "controlnet",
  "train-diffusion": "model",
  "train-autoencoder": "first stage",
};
const SHELVES = {
  "train-lora": "loras",
  "train-embedding": "embeddings",
  "train-controlnet": "controlnets",
  "train-diffusion": "checkpoints",
  "train-autoencoder": "vae",
};

/** {names, kinds}: what startTraining was told; kind, dataset, values: what the form holds; pending: to be put in. */
const form = { names: [], kinds: {}, kind: "train-lora", dataset: "", values: {}, pending: {} };
let models = {};

/** Emits "change" when the dataset or the kind is another one, "submitted" (detail: the job's id) after Start. */
export const chosen = new EventTarget();
export const chosenDataset = () => form.dataset;

let tellStarted;
/** Resolves when the form holds what it held at the last visit; before that, nothing may be chosen in it. */
export const trainFormStarted = new Promise((resolve) => (tellStarted = resolve));

/** Gradio's load event: the values that the controls get. */
export async function startTraining(spec, values) {
  Object.assign(form, { names: spec.names, kinds: spec.kinds, kind: values[0] });
  await loadModels();
  const saved = tab.get("form.train") ?? browser.get("form.train") ?? {};
  if (saved.kind in form.kinds) form.kind = saved.kind;
  if (typeof saved.dataset === "string") form.dataset = saved.dataset;
  form.values = { ...named(values.slice(1)), ...recommended(form.kind, saved.values ?? {}), ...fitting(saved.values ?? {}) };
  watch();
  show();
  tellStarted();
  chosen.dispatchEvent(new Event("change"));
  return drawn().map((value, i) => unlessTouched(spec.elements[i], value));
}

/** Another kind was chosen: what was still a default of the last kind becomes the default of this one. */
export function followTraining(values) {
  follow(values);
  form.pending = {};
  return drawn();
}

/** Remember everything typed; a field on which defaults depend may have changed. */
export function saveTraining(values) {
  follow(values);
  keep();
  if (Object.keys(form.pending).length) press("train_fill");
}

/** Gradio's answer to a click on the hidden fill button: the values now, with the pending ones put in. */
export function fillTraining(values) {
  form.values = { ...named(values.slice(1)), ...form.pending };
  form.pending = {};
  show();
  keep();
  return drawn();
}

/** Put values into the form, of another kind too; what it does not know or its limits do not allow stays as it is. */
export function putIntoTraining(kind, values) {
  form.kind = kind;
  form.pending = fitting(values);
  if (typeof values.dataset === "string") chooseDataset(values.dataset);
  press("train_fill");
}

export function chooseDataset(name) {
  form.dataset = name;
  keep();
  show();
  chosen.dispatchEvent(new Event("change"));
}

/** Send the form as one job; an emptied number is left out, which asks for the field's default. */
export async function submitTraining(values) {
  follow(values);
  keep();
  const fields = Object.keys(form.kinds[form.kind]);
  const filled = { ...form.values, dataset: chosenDataset(), ...suggestions() };
  if (!filled.dataset) return void book.refuse(form.kind, new ServerError("NoDataset", null));
  const request = Object.fromEntries(fields.map((name) => [name, filled[name]]).filter(([, value]) => value !== null));
  const job = await book.submit(form.kind, request);
  if (job) chosen.dispatchEvent(new CustomEvent("submitted", { detail: job.id }));
}

function follow(values) {
  const [kind, ...rest] = values;
  const now = named(rest);
  const before = recommended(form.kind, form.values);
  const after = recommended(kind, now);
  const isChoice = (name) => name in MODELS || form.kinds[kind][name].choices;
  const isUntouched = (name) => now[name] === before[name] || (isChoice(name) && !fits(name, now[name]));
  const changes = Object.entries(after).filter(([name, value]) => isUntouched(name) && value !== now[name]);
  form.pending = Object.fromEntries(changes);
  form.values = { ...now, ...form.pending };
  if (kind !== form.kind) {
    form.kind = kind;
    chosen.dispatchEvent(new Event("change"));
  }
  show();
}

/** Defaults of a kind; pictures are learnt at the size of the model that they are learnt for. */
function recommended(kind, values) {
  const fields = form.kinds[kind];
  const names = Object.keys(fields).filter((name) => form.names.includes(name) && !WRITTEN.includes(name));
  const defaults = Object.fromEntries(names.map((name) => [name, fields[name].default]));
  const size = "checkpoint" in fields && nativeSize(values.checkpoint || values.first_stage);
  return { ...defaults, ...(size ? { size } : {}) };
}

function nativeSize(name) {
  const { checkpoints, default: first } = knownCheckpoints();
  return checkpoints.find((checkpoint) => checkpoint.name === (name || first))?.native_size;
}

/** Names that are proposed where none was typed: that of the result, and the new word of an embedding. */
function suggestions() {
  const dataset = chosenDataset();
  const plain = dataset.replaceAll(/[^A-Za-z0-9_-]+/g, "-");
  return {
    name: form.values.name || freeName(`${dataset || "untitled"} ${SHORT[form.kind]}`.slice(0, 50)),
    token: form.values.token || `<${plain || "new"}>`,
  };
}

function freeName(name) {
  const planned = book.trainings.filter((job) => !isFinal(job)).map((job) => job.request.name);
  const taken = new Set([...(models[SHELVES[form.kind]] ?? []), ...planned]);
  let free = name;
  for (let number = 2; taken.has(free); number += 1) free = `${name} ${number}`;
  return free;
}

async function loadModels() {
  try {
    const [known] = await Promise.all([getModels(), checkpointsLoaded]);
    const names = (items) => items.map((item) => item.name);
    models = Object.fromEntries(Object.entries(known).map(([shelf, items]) => [shelf, names(items)]));
    models.checkpoints = names(known.checkpoints.filter((item) => item.can_train));
    const alone = known.vae.filter((item) => item.layout === "folder");
    models.first_stages = [...models.checkpoints, ...names(alone).map((name) => `vae/${name}`)];
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;  // the status line says that the server is away
  }
}

const named = (values) => Object.fromEntries(form.names.map((name, i) => [name, values[i]]));
const fitting = (values) =>
  Object.fromEntries(form.names.filter((name) => fits(name, values[name])).map((name) => [name, values[name]]));

/** Limits and choices of a field are the same in every kind that has it. */
const fieldOf = (name) => Object.values(form.kinds).find((fields) => name in fields)?.[name];

function fits(name, value) {
  const field = fieldOf(name);
  if (!field || typeof value !== typeof field.default) return false;
  if (name in MODELS) return !value || (models[MODELS[name]] ?? []).includes(value);
  if (typeof value === "number" && !field.choices) return !(value < field.minimum) && !(value > field.maximum);
  return !field.choices || field.choices.includes(value);
}

/** What Gradio puts into the controls. */
function drawn() {
  return [form.kind, ...form.names.map((name) => (name in MODELS ? modelUpdate(name) : form.values[name]))];
}

function modelUpdate(name) {
  const none = form.kind === "train-diffusion" ? `train.model.none.${name}` : "train.model.default";
  const choices = [[t(none), ""], ...(models[MODELS[name]] ?? []).map((model) => [model, model])];
  return { __type__: "update", choices, value: form.values[name] ?? "" };
}

/** Which controls matter, as attributes that the styles look at: the tab itself may not have been drawn yet. */
function show() {
  const page = document.documentElement.dataset;
  page.trainKind = form.kind;
  page.trainRegularisation = form.values.regularisation ?? "";
  const proposed = suggestions();
  for (const name of ["name", "token"]) {
    const input = document.querySelector(`#train_${name} :is(input, textarea)`);
    if (input) input.placeholder = form.values[name] ? "" : proposed[name];
  }
}

let timer = null;

function watch() {
  const later = ({ isTrusted, target }) => {
    if (!isTrusted || !target.closest?.("#train")) return;
    clearTimeout(timer);
    timer = setTimeout(() => press("train_save"), SAVE_DELAY);
  };
  for (const type of WATCHED) document.addEventListener(type, later, { capture: true });
  addEventListener("pagehide", () => press("train_save"));
  book.addEventListener("models", async () => {
    await loadModels();
    press("train_fill");
  });
  // The tab is drawn when it is opened for the first time.
  new MutationObserver((_changes, observer) => {
    if (!document.getElementById("train_name")) return;
    observer.disconnect();
    setTimeout(show);
  }).observe(document.body, { childList: true, subtree: true });
}

function keep() {
  const memory = { kind: form.kind, dataset: form.dataset, values: form.values };
  for (const storage of [tab, browser]) storage.set("form.train", memory);
}

const press = (id) => document.getElementById(id)?.click();

/** Under the choice of the kind: what that kind is good for. */
class EaselTrainHint extends HTMLElement {
  #redraw = () => renewed(this, form.kind, () => h("p", { class: "easel-hint" }, t(`kind.${form.kind}.help`)));

  connectedCallback() {
    chosen.addEventListener("change", this.#redraw);
    this.#redraw();
  }

  disconnectedCallback() {
    chosen.removeEventListener("change", this.#redraw);
  }
}

export const define = () => customElements.define("easel-train-hint", EaselTrainHint);

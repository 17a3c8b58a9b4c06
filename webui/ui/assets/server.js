// Requests to our own server: addresses, errors in words, and a submit that cannot happen twice.

/** Address of a path of this server, also behind a proxy that puts it under a prefix. */
export const server = (path) => new URL(`../${path}`, import.meta.url).href;

/** What went wrong: `kind` is the name of the error's class, `told` the server's sentence {text, template, values}. */
export class ServerError extends Error {
  constructor(kind, told) {
    super(told?.text ?? kind);
    this.kind = kind;
    this.told = told;
  }
}

/** Nobody answered. */
export class Unreachable extends ServerError {
  constructor() {
    super("Unreachable", null);
  }
}

export const request = async (path, options) => (await answer(path, options)).json().catch(() => null);

/** The server's answer, if it is a good one. */
async function answer(path, options) {
  let response;
  try {
    response = await fetch(server(path), { cache: "no-store", ...options });
  } catch {
    throw new Unreachable();
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const { kind, ...told } = body?.error ?? { kind: `HTTP ${response.status}`, text: response.statusText };
  throw new ServerError(kind, told);
}

/** What only the operator may do where the page is open to a network. */
const asOperator = (token) => (token ? { "X-Easel-Operator": token } : {});
const sendAs = (token, method, path, body) =>
  request(path, { method, headers: { "Content-Type": "application/json", ...asOperator(token) }, body: JSON.stringify(body) });

export const send = (method, path, body) =>
  request(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
export const post = (path, body) => send("POST", path, body);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Keep a picture on the server, by its content. Answers {id, width, height}. */
export const uploadInput = (blob) =>
  request("api/v1/inputs", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: blob });

/** The server's copy of a picture, a PNG. */
export async function getInput(id) {
  const picture = await answer(`api/v1/inputs/${encodeURIComponent(id)}`, { cache: "default" });  // it never changes
  return picture.blob().catch(() => {
    throw new Unreachable();
  });
}

/** Ends when the request before has been taken, or hangs: jobs stand in the queue in the order of the clicks. */
let turn = Promise.resolve();
const TURN = 2000;  // ms

/** Queue a job, or with a `script` ({script, options}) a run of it. The key makes repeating harmless: the server knows a
    request that it has already taken. */
export function submitJob(kind, values, styles, script = null) {
  const taken = turn.then(() => sendJob(kind, values, styles, script));
  turn = Promise.race([taken.catch(() => null), turn.then(() => pause(TURN))]);
  return taken;
}

async function sendJob(kind, values, styles, script) {
  const body = { kind, values, styles, key: newKey(), ...script };
  const path = script ? "api/v1/runs" : "api/v1/jobs";
  for (const wait of [500, 1500, 3000]) {
    try {
      return await post(path, body);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      await pause(wait);
    }
  }
  return post(path, body);
}

/** crypto.randomUUID exists on secure pages only, and a LAN address is not one. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `action` is cancel, skip, pause or resume. */
export const tellJob = (id, action) => post(`api/v1/jobs/${encodeURIComponent(id)}/${action}`);
/** Put a waiting job directly before another one; null: last. */
export const moveJob = (id, before) => post(`api/v1/jobs/${encodeURIComponent(id)}/move`, { before });
/** {seconds}: how long a request would take here, or null. */
export const estimateJob = (kind, values) => post("api/v1/jobs/estimate", { kind, values });
/** Every script with its options. */
export const getScripts = () => request("api/v1/scripts");
/** {value}: the text that names everything possible for an option. */
export const fillOption = (name, kind, option, options) => post(`api/v1/scripts/${encodeURIComponent(name)}/fill`, { kind, option, options });
/** {cells, pictures, seconds} of a run that nobody has asked for yet. */
export const planRun = (kind, values, script) => post("api/v1/runs/plan", { kind, values, ...script });
export const getRuns = (limit) => request(`api/v1/runs?limit=${limit}`);
export const getRun = (id) => request(`api/v1/runs/${encodeURIComponent(id)}`);
/** `action` is pause, resume or cancel. */
export const tellRun = (id, action) => post(`api/v1/runs/${encodeURIComponent(id)}/${action}`);
/** {curl, python}: a request as a command and as a program. */
export const getSnippets = (kind, values, styles) => post("api/v1/snippets", { kind, values, styles });
export const getJob = (id) => request(`api/v1/jobs/${encodeURIComponent(id)}`);
export const getJobs = (limit) => request(`api/v1/jobs?limit=${limit}`);
/** Those of the named jobs that exist. */
export const getNamedJobs = (ids) => request(`api/v1/jobs?${new URLSearchParams(ids.map((id) => ["id", id]))}`);
/** {steps: [{step, preview}]} of a finished picture; the answer never changes. */
export const getSteps = (id) => request(`api/v1/pictures/${encodeURIComponent(id)}/steps`);
/** Address of the steps as one moving picture: gif, webp, png or mp4. */
export const movingUrl = (id, ending) => server(`api/v1/pictures/${encodeURIComponent(id)}/steps.${ending}`);
export const getStatus = () => request("api/v1/status");
export const getCheckpoints = () => request("api/v1/checkpoints");
export const refreshCheckpoints = () => post("api/v1/checkpoints/refresh");
/** Names of everything in the models folder, by kind. */
export const getModels = () => request("api/v1/models");

/** Names of everything that enlarges pictures. */
export const getUpscalers = () => request("api/v1/upscalers");

/** {prompt, negative_prompt}, each {used, room}. */
export const countTokens = (prompts) => post("api/v1/prompts/tokens", prompts);
/** Both prompts with the styles in them. */
export const applyStyles = (prompts) => post("api/v1/prompts/styled", prompts);
/** What the prompts {prompt, negative_prompt, styles} say for each of `seeds`. */
export const rollPrompts = (asked) => post("api/v1/prompts/rolled", asked);
export const getWildcards = () => request("api/v1/wildcards");
export const getWildcard = (name) => request(`api/v1/wildcards/${name.split("/").map(encodeURIComponent).join("/")}`);
export const saveWildcard = (wildcard) => send("PUT", "api/v1/wildcards", wildcard);
export const deleteWildcard = (name) => request(`api/v1/wildcards?${new URLSearchParams({ name })}`, { method: "DELETE" });
export const getStyles = () => request("api/v1/styles");
export const saveStyle = (style) => send("PUT", "api/v1/styles", style);
export const deleteStyle = (name) => request(`api/v1/styles?${new URLSearchParams({ name })}`, { method: "DELETE" });

/** Every setting with its words, limits and value. */
export const getSettings = () => request("api/v1/settings");
export const changeSettings = (values, operator) => sendAs(operator, "PATCH", "api/v1/settings", { values });

export const getPresets = () => request("api/v1/presets");
export const savePreset = (preset) => send("PUT", "api/v1/presets", preset);
export const renamePreset = (tab, name, to) => post("api/v1/presets/rename", { tab, name, to });
export const deletePreset = (tab, name) => request(`api/v1/presets?${new URLSearchParams({ tab, name })}`, { method: "DELETE" });
export const importPresets = (file) => post("api/v1/presets/file", file);

export const getDrafts = () => request("api/v1/drafts");
export const getDraft = (client) => request(`api/v1/drafts/${encodeURIComponent(client)}`);
export const saveDraft = (client, draft) => send("PUT", `api/v1/drafts/${encodeURIComponent(client)}`, draft);
export const deleteDraft = (client) => request(`api/v1/drafts/${encodeURIComponent(client)}`, { method: "DELETE" });

export const getSystem = () => request("api/v1/system");
export const getLog = (operator) => request("api/v1/system/log", { headers: asOperator(operator) });
export const getReport = async (operator) => (await answer("api/v1/system/report", { headers: asOperator(operator) })).text();
/** `action` is restart or unload. */
export const tellEngines = (action, operator) => sendAs(operator, "POST", `api/v1/system/${action}`, {});

export const getTrainings = (limit) => request(`api/v1/jobs?training=true&limit=${limit}`);
/** Loss curve and sample pictures of one training. */
export const getTraining = (id, points) => request(`api/v1/jobs/${encodeURIComponent(id)}/training?points=${points}`);
/** A new training that goes on from what a failed one has saved. */
export const takeUpAgain = (id) => post(`api/v1/jobs/${encodeURIComponent(id)}/again`);

const dataset = (name, rest = "") => `api/v1/datasets/${encodeURIComponent(name)}${rest}`;
const pictureOf = (name, id, rest = "") => dataset(name, `/pictures/${encodeURIComponent(id)}${rest}`);
export const getDatasets = () => request("api/v1/datasets");
export const getDataset = (name, offset, limit) => request(dataset(name, `?offset=${offset}&limit=${limit}`));
export const createDataset = (name) => post("api/v1/datasets", { name });
export const deleteDataset = (name) => request(dataset(name), { method: "DELETE" });
/** Send one file as it is. */
export const addToDataset = (name, file) =>
  request(dataset(name, `/files?${new URLSearchParams({ file: file.name })}`), {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
export const setCaption = (name, id, caption) => send("PUT", pictureOf(name, id), { caption });
export const removePicture = (name, id) => request(pictureOf(name, id), { method: "DELETE" });
export const thumbnailUrl = (name, id) => server(pictureOf(name, id, "/thumbnail"));

// Requests to our own server: addresses, errors in words, and a submit that cannot happen twice.

/** Address of a path of this server, also behind a proxy that puts it under a prefix. */
export const server = (path) => new URL(`../${path}`, import.meta.url).href;

/** What went wrong, in the server's words: `kind` is the name of the error's class. */
export class ServerError extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

/** Nobody answered. */
export class Unreachable extends ServerError {
  constructor() {
    super("Unreachable", "");
  }
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(server(path), { cache: "no-store", ...options });
  } catch {
    throw new Unreachable();
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const error = body?.error;
  throw new ServerError(error?.kind ?? `HTTP ${response.status}`, error?.text ?? response.statusText);
}

const post = (path, body) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Queue a job. The key makes repeating harmless: the server knows a request that it has already taken. */
export async function submitJob(kind, values) {
  const key = newKey();
  for (const wait of [500, 1500, 3000]) {
    try {
      return await post("api/v1/jobs", { kind, values, key });
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      await pause(wait);
    }
  }
  return post("api/v1/jobs", { kind, values, key });
}

/** crypto.randomUUID exists on secure pages only, and a LAN address is not one. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `action` is cancel, skip, pause or resume. */
export const tellJob = (id, action) => post(`api/v1/jobs/${encodeURIComponent(id)}/${action}`);
export const getJob = (id) => request(`api/v1/jobs/${encodeURIComponent(id)}`);
export const getJobs = (limit) => request(`api/v1/jobs?limit=${limit}`);
/** Those of the named jobs that exist. */
export const getNamedJobs = (ids) => request(`api/v1/jobs?${new URLSearchParams(ids.map((id) => ["id", id]))}`);
export const getStatus = () => request("api/v1/status");
export const getCheckpoints = () => request("api/v1/checkpoints");
export const refreshCheckpoints = () => post("api/v1/checkpoints/refresh");

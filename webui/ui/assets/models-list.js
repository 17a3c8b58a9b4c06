// The models that the Models tab shows, by position: fetched in blocks as they come into view. Draws nothing.

import { post, request, send, server, ServerError } from "./server.js";

const BLOCK = 100;

const models = (rest) => `api/v1/models/${rest}`;
const of = ({ shelf, name }, rest) => models(`${encodeURIComponent(shelf)}/${rest}?${new URLSearchParams({ name })}`);

export const searchModels = (query) => request(models(`search?${new URLSearchParams(query)}`));
export const getPassport = (model) => request(of(model, "passport"));
export const keepNotes = (model, notes, tags) => send("PUT", of(model, "notes"), { notes, tags });
/** Values that forms begin with when this checkpoint is chosen; {} forgets them. */
export const keepDefaults = (model, values) => send("PUT", of(model, "defaults"), { values });
export const setPreview = (model, picture) => send("PUT", of(model, "preview"), { picture });
export const makeHash = (model) => post(of(model, "hash"));
export const getHash = (model) => request(of(model, "hash"));
export const throwAway = (model, operator) => request(of(model, "trash"), { method: "POST", headers: operator });
export const bringBack = (id, operator) =>
  request(models("restore"), { method: "POST", headers: { "Content-Type": "application/json", ...operator }, body: JSON.stringify({ id }) });
/** Address of the picture beside a model, or null. */
export const previewUrl = (model) => (model.preview === null ? null : `${server(of(model, "preview"))}&v=${model.preview}`);

/** Emits "change" (detail: {isOther}) when what is known is different, "trouble" (detail: the error). */
export class ModelList extends EventTarget {
  #blocks = new Map();  // number of a block -> its models; null while they are fetched
  #query = {};
  #version = 0;
  /** Of everything that is found; null until known. */
  total = null;
  /** {shelves: models by shelf, families, tags, folder}. */
  facets = { shelves: {}, families: [], tags: [], folder: "" };

  /** Look for something else, or for the same again. What is on display stays until the new is there. */
  async look(query = this.#query) {
    const version = ++this.#version;
    const isOther = JSON.stringify(query) !== JSON.stringify(this.#query);
    this.#query = query;
    try {
      const first = await this.#fetch(0);
      if (version !== this.#version) return;
      this.#blocks = new Map([[0, first.models]]);
      this.#tell(first, isOther);
    } catch (error) {
      this.#fail(error);
    }
  }

  at(position) {
    return this.#blocks.get(Math.floor(position / BLOCK))?.[position % BLOCK];
  }

  /** Fetch what is missing between two positions. */
  need(first, last) {
    for (let block = Math.floor(first / BLOCK); block <= Math.floor(last / BLOCK); block += 1) {
      if (!this.#blocks.has(block)) void this.#load(block);
    }
  }

  async #load(block) {
    const version = this.#version;
    this.#blocks.set(block, null);
    try {
      const page = await this.#fetch(block);
      if (version !== this.#version) return;
      this.#blocks.set(block, page.models);
      this.#tell(page, false);
    } catch (error) {
      this.#blocks.delete(block);
      this.#fail(error);
    }
  }

  #fetch(block) {
    return searchModels({ ...this.#query, offset: block * BLOCK, limit: BLOCK });
  }

  #tell({ total, models: _models, ...facets }, isOther) {
    this.total = total;
    this.facets = facets;
    this.dispatchEvent(new CustomEvent("change", { detail: { isOther } }));
  }

  #fail(error) {
    if (!(error instanceof ServerError)) throw error;
    this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
  }
}

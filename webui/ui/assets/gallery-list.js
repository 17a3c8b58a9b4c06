// The pictures that the gallery tab shows, by position: fetched in blocks as they come into view. Draws nothing.

import { post, request, send, server, ServerError } from "./server.js";

const BLOCK = 120;
const MOST_IDS = 20_000;  // the server takes no more in one request
const MOST_PER_PAGE = 500;

const gallery = (rest = "") => `api/v1/gallery${rest}`;
export const getPicture = (id) => request(gallery(`/${encodeURIComponent(id)}`));
export const getFacets = () => request(gallery("/facets"));
export const starPictures = (ids, starred) => post(gallery("/star"), { ids, starred });
export const deletePictures = (ids) => post(gallery("/trash"), { ids });
export const restorePictures = (ids) => post(gallery("/restore"), { ids });
export const emptyTrash = () => request(gallery("/trash"), { method: "DELETE" });
export const exportPictures = (ids) => post(gallery("/exports"), { ids });
export const createCollection = (name) => post(gallery("/collections"), { name });
export const renameCollection = (id, name) => send("PUT", gallery(`/collections/${encodeURIComponent(id)}`), { name });
export const deleteCollection = (id) => request(gallery(`/collections/${encodeURIComponent(id)}`), { method: "DELETE" });
export const collectPictures = (id, ids, belongs) =>
  post(gallery(`/collections/${encodeURIComponent(id)}/pictures`), { ids, belongs });
export const bareUrl = (id) => server(gallery(`/${encodeURIComponent(id)}/bare`));
/** What a picture file says about how it was made. */
export const readPicture = (file) =>
  request("api/v1/picture-info", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
export const readText = (text) => post("api/v1/text-info", { text });
/** Address of what the server names by its own path. */
export const addressOf = (url) => server(url.replace(/^\//, ""));

/** Emits "change" when a picture or the number of them is different, "trouble" (detail: the error). */
export class PictureList extends EventTarget {
  #blocks = new Map();  // number of a block -> its pictures; null while they are fetched
  #version = 0;
  #query = {};
  /** Of everything that is found; null until known. */
  total = null;
  /** {done, total} while the server reads new files. */
  indexing = null;
  inTrash = false;

  /** Look for something else, or for the same again. Pictures on display stay until the new ones are there. */
  async look(query = this.#query) {
    const version = ++this.#version;
    const isOther = JSON.stringify(query) !== JSON.stringify(this.#query);
    this.#query = query;
    this.inTrash = query.collection === "trash";
    try {
      const first = await this.#fetch(0, BLOCK);
      if (version !== this.#version) return;
      this.#blocks = new Map([[0, first.pictures]]);
      for (let at = BLOCK; this.inTrash && at < first.pictures.length; at += BLOCK) {
        this.#blocks.set(at / BLOCK, first.pictures.slice(at, at + BLOCK));
      }
      this.#take(first);
      this.dispatchEvent(new CustomEvent("change", { detail: { isOther } }));
    } catch (error) {
      this.#complain(error, version);
    }
  }

  /** How many there are by now, without changing what is on display. */
  async countNow() {
    return (await this.#fetch(0, 1)).total;
  }

  /** The picture at a position; undefined while it is not known. */
  at(position) {
    return this.#blocks.get(Math.floor(position / BLOCK))?.[position % BLOCK];
  }

  /** Have the pictures from `first` to `last` fetched. */
  need(first, last) {
    for (let block = Math.floor(first / BLOCK); block <= Math.floor(last / BLOCK); block += 1) {
      if (!this.#blocks.has(block)) void this.#fetchBlock(block);
    }
  }

  /** The picture at a position, fetched if need be; undefined beyond the end. */
  async load(position) {
    if (position < 0 || position >= this.total) return undefined;
    if (!this.at(position)) await this.#fetchBlock(Math.floor(position / BLOCK));
    return this.at(position);
  }

  /** What is at a position, to be found again when the list has changed; null while it is not known. */
  placeOf(position) {
    const picture = this.at(position);
    return picture ? { picture, position, total: this.total } : null;
  }

  /** Position at which the picture of a place is now; null when it is gone, undefined when nobody can say just now. */
  async find({ picture: { id }, position, total }) {
    for (const [block, pictures] of this.#blocks) {
      const at = pictures?.findIndex((each) => each.id === id) ?? -1;
      if (at >= 0) return block * BLOCK + at;
    }
    const version = this.#version;
    const reach = Math.abs(this.total - total) + BLOCK;
    const first = Math.max(0, position - reach);
    try {
      const at = (await this.idsBetween(first, position + reach)).indexOf(id);
      if (version !== this.#version) return undefined;
      return at < 0 ? null : first + at;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      return undefined;
    }
  }

  /** Ids from one position to another, both included. */
  async idsBetween(first, last) {
    const known = [];
    const end = Math.min(last, first + MOST_IDS - 1, this.total - 1);
    for (let at = first; at <= end; ) {
      if (this.at(at)) {
        known.push(this.at(at).id);
        at += 1;
      } else {
        const { pictures } = await this.#fetch(at, Math.min(MOST_PER_PAGE, end - at + 1));
        if (!pictures.length) break;
        known.push(...pictures.map(({ id }) => id));
        at += pictures.length;
      }
    }
    return known;
  }

  /** Change what is known of a picture, wherever it is on display. */
  patch(ids, changes) {
    for (const pictures of this.#blocks.values()) {
      for (const picture of pictures ?? []) if (ids.includes(picture.id)) Object.assign(picture, changes);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: { isOther: false } }));
  }

  async #fetchBlock(block) {
    const version = this.#version;
    this.#blocks.set(block, null);
    try {
      const page = await this.#fetch(block * BLOCK, BLOCK);
      if (version !== this.#version) return;
      this.#blocks.set(block, page.pictures);
      this.#take(page);
      this.dispatchEvent(new CustomEvent("change", { detail: { isOther: false } }));
    } catch (error) {
      if (version === this.#version) this.#blocks.delete(block);
      this.#complain(error, version);
    }
  }

  async #fetch(offset, limit) {
    if (this.inTrash) {
      const { pictures } = await request(gallery("/trash"));
      return { pictures, total: pictures.length, indexing: null };
    }
    const filled = Object.entries(this.#query).filter(([, value]) => value);
    return request(gallery(`?${new URLSearchParams([...filled, ["offset", offset], ["limit", limit]])}`));
  }

  #take({ total, indexing }) {
    this.total = total;
    this.indexing = indexing;
  }

  #complain(error, version) {
    if (!(error instanceof ServerError)) throw error;
    if (version === this.#version) this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
  }
}

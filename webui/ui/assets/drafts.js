// What is too large for storage.js: pictures and layers in progress, in IndexedDB, one draft for each tab of the browser.
// A database that is full, forbidden or broken reads as empty and is never an error.

import { tab } from "./storage.js";

const DATABASE = "easel";
const STORE = "drafts";
const MOST = 4;  // drafts of tabs that may be closed; the oldest go first

let opened;
const database = () => (opened ??= open());

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

const finished = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  return (await database()).transaction(STORE, mode).objectStore(STORE);
}

/** Survives a reload; another tab of the browser has another. */
function ownKey() {
  const id = tab.get("draft") ?? Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join("");
  tab.set("draft", id);
  return id;
}

/** This tab's draft, else the newest of all, else null. */
export async function readDraft() {
  try {
    const all = await finished((await store("readonly")).getAll());
    const own = all.find(({ key }) => key === ownKey());
    return (own ?? all.sort((a, b) => b.saved - a.saved)[0])?.draft ?? null;
  } catch {
    return null;
  }
}

export async function writeDraft(draft) {
  try {
    const drafts = await store("readwrite");
    const key = ownKey();
    await finished(drafts.put({ key, saved: Date.now(), draft }, key));
    const others = (await finished(drafts.getAll())).sort((a, b) => b.saved - a.saved).slice(MOST);
    for (const old of others) drafts.delete(old.key);
  } catch {
    // remembering is a convenience
  }
}

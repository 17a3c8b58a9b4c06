// What a page remembers, as JSON. A storage that is full, forbidden or broken reads as empty and is never an error.

const PREFIX = "easel.";

const read = (storage, key) => {
  try {
    return JSON.parse(storage().getItem(PREFIX + key));
  } catch {
    return null;
  }
};

const write = (storage, key, value) => {
  try {
    storage().setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // remembering is a convenience
  }
};

// Functions, because merely naming a forbidden storage throws.
const ofTab = () => sessionStorage;
const ofBrowser = () => localStorage;

/** This tab's own memory: survives a reload, is not shared with other windows. */
export const tab = { get: (key) => read(ofTab, key), set: (key, value) => write(ofTab, key, value) };

/** What every window of this browser remembers. */
export const browser = { get: (key) => read(ofBrowser, key), set: (key, value) => write(ofBrowser, key, value) };

/** A plain string for early.js, which reads it without JSON. */
export const preference = {
  get: (name) => {
    try { return localStorage.getItem(PREFIX + name); } catch { return null; }
  },
  set: (name, value) => {
    try {
      if (value === null) localStorage.removeItem(PREFIX + name);
      else localStorage.setItem(PREFIX + name, value);
    } catch { /* as above */ }
  },
};

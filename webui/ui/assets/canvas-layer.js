// The pixels that are painted, at the full resolution of the picture, and their history. Knows no DOM.
//
// Our own arrays are the truth and not a canvas element: what is read back from one is premultiplied, may be changed by
// browsers that hide from fingerprinting, and copies everything when a small part is read.

const TILE = 256;
const MOST_STEPS = 500;
const MOST_BYTES = 256 * 2 ** 20;

/** What is masked: 0 to 255 per pixel, 255 is painted anew. */
export class MaskLayer {
  constructor(width, height) {
    Object.assign(this, { width, height, data: new Uint8Array(width * height), full: 255 });
  }

  /** A pixel of which the ink covers `share` (0 to 1): crossing strokes do not add up. */
  mix(old, ink, share) {
    const value = Math.round(share * 255);
    return ink ? Math.max(old, value) : Math.min(old, 255 - value);
  }
}

/** What is sketched: 0xAABBGGRR per pixel, as ImageData has it; 0 lets the picture through. */
export class PaintLayer {
  constructor(width, height) {
    Object.assign(this, { width, height, data: new Uint32Array(width * height), full: 0xff000000 });
  }

  mix(old, ink, share) {
    const alpha = old >>> 24;
    if (!ink) return ((Math.round(alpha * (1 - share)) << 24) | (old & 0xffffff)) >>> 0;
    const below = (alpha / 255) * (1 - share);
    const whole = share + below;
    if (whole <= 0) return 0;
    const channel = (shift) => Math.round((((ink >>> shift) & 255) * share + ((old >>> shift) & 255) * below) / whole) << shift;
    return ((Math.round(whole * 255) << 24) | channel(16) | channel(8) | channel(0)) >>> 0;
  }
}

/** {x0, y0, x1, y1} in whole pixels, the end not included, cut to the layer; null when nothing is left. */
export function rectangle(layer, x0, y0, x1, y1) {
  const rect = {
    x0: Math.max(0, Math.floor(x0)),
    y0: Math.max(0, Math.floor(y0)),
    x1: Math.min(layer.width, Math.ceil(x1)),
    y1: Math.min(layer.height, Math.ceil(y1)),
  };
  return rect.x0 < rect.x1 && rect.y0 < rect.y1 ? rect : null;
}

export const everything = (layer) => rectangle(layer, 0, 0, layer.width, layer.height);

export function union(a, b) {
  if (!a || !b) return a ?? b;
  return { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) };
}

export const isBlank = (layer) => !layer || bounds(layer) === null;

/** The smallest rectangle around everything that is not 0, or null. */
export function bounds({ data, width, height }) {
  const isEmpty = (y) => {
    for (let i = y * width, end = i + width; i < end; i += 1) if (data[i]) return false;
    return true;
  };
  let y0 = 0;
  while (y0 < height && isEmpty(y0)) y0 += 1;
  if (y0 === height) return null;
  let y1 = height;
  while (isEmpty(y1 - 1)) y1 -= 1;
  let x0 = width;
  let x1 = 0;
  for (let y = y0; y < y1; y += 1) {
    const row = y * width;
    for (let x = 0; x < x0; x += 1) if (data[row + x]) x0 = x;
    for (let x = width - 1; x >= x1; x -= 1) if (data[row + x]) x1 = x + 1;
  }
  return { x0, y0, x1, y1 };
}

/** Runs of equal values; the values themselves where that is not shorter. */
export function pack(values) {
  const ends = [];
  const kept = [];
  const most = (values.length * values.BYTES_PER_ELEMENT) / (4 + values.BYTES_PER_ELEMENT);
  for (let i = 0; i < values.length; ) {
    const value = values[i];
    while (i < values.length && values[i] === value) i += 1;
    kept.push(value);
    ends.push(i);
    if (kept.length > most) return { values: values.slice() };
  }
  return { ends: Uint32Array.from(ends), values: values.constructor.from(kept) };
}

export function unpack({ ends, values }, target) {
  if (!ends) return target.set(values);
  for (let i = 0, start = 0; i < ends.length; start = ends[i], i += 1) target.fill(values[i], start, ends[i]);
}

const bytesOf = ({ ends, values }) => (ends?.byteLength ?? 0) + values.byteLength;

/** Undo and redo over several layers: of each step only the tiles that it changed are kept, as runs. */
export class History {
  #undo = [];
  #redo = [];
  #open = null;  // what was in the tiles that the step in progress has touched: layer -> tile -> values
  #bytes = 0;

  get canUndo() {
    return this.#undo.length > 0;
  }

  get canRedo() {
    return this.#redo.length > 0;
  }

  /** Forget everything: the layers are others now. */
  reset() {
    this.#undo = [];
    this.#redo = [];
    this.#open = null;
    this.#bytes = 0;
  }

  /** Must be called before pixels inside `rect` change. */
  touch(layer, rect) {
    this.#open ??= new Map();
    if (!this.#open.has(layer)) this.#open.set(layer, new Map());
    const tiles = this.#open.get(layer);
    for (let ty = rect.y0 - (rect.y0 % TILE); ty < rect.y1; ty += TILE) {
      for (let tx = rect.x0 - (rect.x0 % TILE); tx < rect.x1; tx += TILE) {
        const key = ty * layer.width + tx;
        if (!tiles.has(key)) tiles.set(key, copyOut(layer, tileAt(layer, tx, ty)));
      }
    }
  }

  /** The step is done; false when it changed nothing. */
  commit() {
    const step = this.#changes().map(({ layer, rect, before }) => ({ layer, rect, packed: pack(before) }));
    this.#open = null;
    if (!step.length) return false;
    this.#drop(this.#redo);
    this.#redo = [];
    this.#undo.push(step);
    this.#bytes += sizeOf(step);
    while (this.#undo.length > MOST_STEPS || (this.#bytes > MOST_BYTES && this.#undo.length > 1)) {
      this.#drop([this.#undo.shift()]);
    }
    return true;
  }

  /** As if the step in progress had never begun. Returns the rectangle that has to be drawn again. */
  abort() {
    const changes = this.#changes();
    this.#open = null;
    for (const { layer, rect, before } of changes) copyIn(layer, rect, before);
    return changes.reduce((all, { rect }) => union(all, rect), null);
  }

  /** Returns the rectangle that has to be drawn again, or null. */
  undo() {
    return this.#swap(this.#undo, this.#redo);
  }

  redo() {
    return this.#swap(this.#redo, this.#undo);
  }

  #changes() {
    const all = [...(this.#open ?? [])].flatMap(([layer, tiles]) =>
      [...tiles].map(([key, before]) => ({ layer, before, rect: tileAt(layer, key % layer.width, Math.floor(key / layer.width)) })),
    );
    return all.filter(({ layer, rect, before }) => !areSame(before, copyOut(layer, rect)));
  }

  #swap(from, to) {
    this.commit();
    const step = from.pop();
    if (!step) return null;
    this.#bytes -= sizeOf(step);
    const back = step.map(({ layer, rect, packed }) => {
      const now = copyOut(layer, rect);
      const then = new now.constructor(now.length);
      unpack(packed, then);
      copyIn(layer, rect, then);
      return { layer, rect, packed: pack(now) };
    });
    to.push(back);
    this.#bytes += sizeOf(back);
    return step.reduce((all, { rect }) => union(all, rect), null);
  }

  #drop(steps) {
    for (const step of steps) this.#bytes -= sizeOf(step);
  }
}

function areSame(a, b) {
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}

const sizeOf = (step) => step.reduce((sum, { packed }) => sum + bytesOf(packed), 0);
const tileAt = (layer, x, y) => rectangle(layer, x, y, x + TILE, y + TILE);

export function copyOut({ data, width }, { x0, y0, x1, y1 }) {
  const out = new data.constructor((x1 - x0) * (y1 - y0));
  for (let y = y0; y < y1; y += 1) out.set(data.subarray(y * width + x0, y * width + x1), (y - y0) * (x1 - x0));
  return out;
}

function copyIn({ data, width }, { x0, y0, x1, y1 }, values) {
  const across = x1 - x0;
  for (let y = y0; y < y1; y += 1) data.set(values.subarray((y - y0) * across, (y - y0 + 1) * across), y * width + x0);
}

// What tools do to a layer: strokes, rectangles, lassos, floods, and changes of the whole mask. Knows no DOM.
// Every function tells the history what it is about to change and returns the rectangle to draw again, or null.

import { bounds, everything, rectangle } from "./canvas-layer.js";

/** A stroke of a round brush from a to b, {x, y, r} in pixels of the picture. `ink` 0 takes away. */
export function stroke(layer, history, ink, a, b) {
  // In pieces about as long as they are wide: the rectangle around a long slanted line is mostly empty.
  const length = Math.hypot(b.x - a.x, b.y - a.y);
  const pieces = Math.max(1, Math.ceil(length / (2 * Math.max(a.r, b.r) + 32)));
  for (let i = 0; i < pieces; i += 1) capsule(layer, history, ink, between(a, b, i / pieces), between(a, b, (i + 1) / pieces));
  const r = Math.max(a.r, b.r) + 1;
  return rectangle(layer, Math.min(a.x, b.x) - r, Math.min(a.y, b.y) - r, Math.max(a.x, b.x) + r, Math.max(a.y, b.y) + r);
}

const between = (a, b, t) => ({ x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t, r: a.r + (b.r - a.r) * t });

/** All pixels nearer to the line than the radius; those that the edge cuts get their share. */
function capsule(layer, history, ink, a, b) {
  const reach = Math.max(a.r, b.r) + 1;
  const rect = rectangle(
    layer, Math.min(a.x, b.x) - reach, Math.min(a.y, b.y) - reach, Math.max(a.x, b.x) + reach, Math.max(a.y, b.y) + reach,
  );
  if (!rect) return;
  history.touch(layer, rect);
  const { data, width } = layer;
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const squared = dx * dx + dy * dy || 1;
  for (let y = rect.y0; y < rect.y1; y += 1) {
    const py = y + 0.5 - a.y;
    for (let x = rect.x0, i = y * width + x; x < rect.x1; x += 1, i += 1) {
      if (data[i] === ink) continue;
      const px = x + 0.5 - a.x;
      const t = Math.min(1, Math.max(0, (px * dx + py * dy) / squared));
      const [ex, ey] = [px - t * dx, py - t * dy];
      const far = ex * ex + ey * ey;
      const r = a.r + (b.r - a.r) * t;
      if (far >= (r + 0.5) * (r + 0.5)) continue;
      if (r > 0.5 && far <= (r - 0.5) * (r - 0.5)) data[i] = ink;
      else data[i] = layer.mix(data[i], ink, Math.min(1, Math.min(1, 2 * r) * (r + 0.5 - Math.sqrt(far))));
    }
  }
}

/** A filled rectangle between two corners, {x, y}. */
export function box(layer, history, ink, a, b) {
  const [x0, x1] = [Math.min(a.x, b.x), Math.max(a.x, b.x)].map(Math.round);
  const [y0, y1] = [Math.min(a.y, b.y), Math.max(a.y, b.y)].map(Math.round);
  const rect = rectangle(layer, x0, y0, x1, y1);
  if (!rect) return null;
  history.touch(layer, rect);
  for (let y = rect.y0; y < rect.y1; y += 1) layer.data.fill(ink, y * layer.width + rect.x0, y * layer.width + rect.x1);
  return rect;
}

/** The inside of a closed line through `points`, {x, y}: pixels whose middle is inside by the even-odd rule. */
export function lasso(layer, history, ink, points) {
  const ys = points.map(({ y }) => y);
  const xs = points.map(({ x }) => x);
  const rect = rectangle(layer, Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1);
  if (!rect || points.length < 3) return null;
  history.touch(layer, rect);
  for (let y = rect.y0; y < rect.y1; y += 1) {
    const crossings = crossingsAt(points, y + 0.5).sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const from = Math.max(rect.x0, Math.ceil(crossings[k] - 0.5));
      const to = Math.min(rect.x1, Math.ceil(crossings[k + 1] - 0.5));
      if (from < to) layer.data.fill(ink, y * layer.width + from, y * layer.width + to);
    }
  }
  return rect;
}

function crossingsAt(points, y) {
  const found = [];
  for (let i = 0; i < points.length; i += 1) {
    const [a, b] = [points[i], points[(i + 1) % points.length]];
    if (a.y <= y === b.y <= y) continue;
    found.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
  }
  return found;
}

/**
 * Everything around (x, y) that is connected and of nearly the same colour. `pixels` are the picture's, 4 bytes each;
 * `tolerance` is the largest difference of a channel, 0 to 255.
 */
export function flood(layer, history, ink, pixels, x, y, tolerance) {
  const { width, height, data } = layer;
  const start = Math.floor(y) * width + Math.floor(x);
  const [red, green, blue] = pixels.subarray(start * 4, start * 4 + 3);
  const isAlike = (i) =>
    Math.abs(pixels[i * 4] - red) <= tolerance &&
    Math.abs(pixels[i * 4 + 1] - green) <= tolerance &&
    Math.abs(pixels[i * 4 + 2] - blue) <= tolerance;
  const seen = new Uint8Array(width * height);
  const found = { x0: width, y0: height, x1: 0, y1: 0 };
  const waiting = [start];
  const look = (i, wasAlike) => {
    const alike = !seen[i] && isAlike(i);
    if (alike && !wasAlike) waiting.push(i);
    return alike;
  };
  while (waiting.length) {
    const i = waiting.pop();
    if (seen[i]) continue;
    const row = i - (i % width);
    let from = i;
    while (from > row && !seen[from - 1] && isAlike(from - 1)) from -= 1;
    let [above, below] = [false, false];
    let to = from;
    for (; to < row + width && !seen[to] && isAlike(to); to += 1) {
      seen[to] = 1;
      if (row > 0) above = look(to - width, above);
      if (row + width < seen.length) below = look(to + width, below);
    }
    Object.assign(found, {
      x0: Math.min(found.x0, from - row), y0: Math.min(found.y0, row / width),
      x1: Math.max(found.x1, to - row), y1: Math.max(found.y1, row / width + 1),
    });
  }
  history.touch(layer, found);
  for (let i = found.y0 * width; i < found.y1 * width; i += 1) if (seen[i]) data[i] = ink;
  return found;
}

export function clear(layer, history) {
  const rect = bounds(layer);
  if (!rect) return null;
  history.touch(layer, rect);
  layer.data.fill(0);
  return rect;
}

/** Masked becomes unmasked and the other way round. */
export function invert(mask, history) {
  history.touch(mask, everything(mask));
  const { data } = mask;
  for (let i = 0; i < data.length; i += 1) data[i] = 255 - data[i];
  return everything(mask);
}

/** Put other values into the whole mask. */
export function replace(mask, history, values) {
  history.touch(mask, everything(mask));
  mask.data.set(values);
  return everything(mask);
}

/** Move the mask's edge outwards by `radius` pixels, round at corners; inwards when negative. */
export function grow(mask, history, radius) {
  if (radius < 0) {
    const flip = () => mask.data.forEach((value, i) => (mask.data[i] = 255 - value));
    history.touch(mask, everything(mask));
    flip();  // the edge of the picture is no edge of the mask: nothing shrinks away from it
    grow(mask, history, -radius);
    flip();
    return everything(mask);
  }
  const inner = bounds(mask);
  if (!inner) return null;
  const rect = rectangle(mask, inner.x0 - radius, inner.y0 - radius, inner.x1 + radius, inner.y1 + radius);
  history.touch(mask, rect);
  const sideways = distancesInRows(mask, rect, radius);
  const [across, down] = [rect.x1 - rect.x0, rect.y1 - rect.y0];
  const limit = (radius + 0.5) ** 2;
  for (let y = 0; y < down; y += 1) {
    for (let x = 0; x < across; x += 1) {
      const i = (y + rect.y0) * mask.width + x + rect.x0;
      if (mask.data[i] === 255) continue;
      let nearest = limit;
      for (let k = Math.max(0, y - radius); k <= Math.min(down - 1, y + radius); k += 1) {
        const d = sideways[k * across + x];
        nearest = Math.min(nearest, d * d + (k - y) * (k - y));
      }
      if (nearest < limit) mask.data[i] = 255;
    }
  }
  return rect;
}

/** For each pixel how far the nearest masked one of its row is (at half strength or more), `radius` + 1 at most. */
function distancesInRows({ data, width }, { x0, y0, x1, y1 }, radius) {
  const across = x1 - x0;
  const out = new Uint16Array(across * (y1 - y0)).fill(radius + 1);
  for (let y = y0; y < y1; y += 1) {
    const row = (y - y0) * across;
    for (let x = 0, d = radius + 1; x < across; x += 1) {
      d = data[y * width + x + x0] >= 128 ? 0 : Math.min(d + 1, radius + 1);
      out[row + x] = d;
    }
    for (let x = across - 1, d = radius + 1; x >= 0; x -= 1) {
      d = Math.min(out[row + x], d + 1);
      out[row + x] = d;
    }
  }
  return out;
}

/** Soften the mask's edge over about `radius` pixels to both sides: three box blurs are nearly a Gaussian. */
export function feather(mask, history, radius) {
  const inner = bounds(mask);
  if (!inner) return null;
  const reach = 3 * radius;
  const rect = rectangle(mask, inner.x0 - reach, inner.y0 - reach, inner.x1 + reach, inner.y1 + reach);
  history.touch(mask, rect);
  const [across, down] = [rect.x1 - rect.x0, rect.y1 - rect.y0];
  const line = new Float32Array(Math.max(across, down));
  for (let pass = 0; pass < 3; pass += 1) {
    for (let y = rect.y0; y < rect.y1; y += 1) blurLine(mask.data, y * mask.width + rect.x0, 1, across, radius, line);
    for (let x = rect.x0; x < rect.x1; x += 1) blurLine(mask.data, rect.y0 * mask.width + x, mask.width, down, radius, line);
  }
  return rect;
}

/** A running mean over 2 × radius + 1 values; beyond the ends the last value goes on. */
function blurLine(data, start, step, count, radius, line) {
  for (let i = 0; i < count; i += 1) line[i] = data[start + i * step];
  const at = (i) => line[Math.min(count - 1, Math.max(0, i))];
  let sum = 0;
  for (let i = -radius; i <= radius; i += 1) sum += at(i);
  for (let i = 0; i < count; i += 1) {
    data[start + i * step] = Math.round(sum / (2 * radius + 1));
    sum += at(i + radius + 1) - at(i - radius);
  }
}

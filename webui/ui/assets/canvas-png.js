// Layers as PNG files and back. Written by ourselves from our own arrays: what is painted is what is sent, bit for bit.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const RGB = 2;

const CRCS = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** A mask as a grey PNG. The values are copied before anything waits: painting may go on. */
export function maskPng({ width, height, data }) {
  const lines = new Uint8Array((width + 1) * height);  // each line begins with its filter: 0, none
  for (let y = 0; y < height; y += 1) lines.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return png(width, height, GREY, lines);
}

/** Opaque pixels of 4 bytes as an RGB PNG. */
export function picturePng(width, height, pixels) {
  const lines = new Uint8Array((width * 3 + 1) * height);
  for (let y = 0, to = 0, from = 0; y < height; y += 1) {
    lines[to++] = 1;  // "sub": each byte less the one of the pixel before, which deflates well
    let [red, green, blue] = [0, 0, 0];
    for (let x = 0; x < width; x += 1, from += 4) {
      lines[to++] = pixels[from] - red;
      lines[to++] = pixels[from + 1] - green;
      lines[to++] = pixels[from + 2] - blue;
      [red, green, blue] = [pixels[from], pixels[from + 1], pixels[from + 2]];
    }
  }
  return png(width, height, RGB, lines);
}

async function png(width, height, colours, lines) {
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([8, colours, 0, 0, 0], 8);
  const squeezed = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(squeezed).arrayBuffer());
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", header), chunk("IDAT", body), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

function chunk(name, body) {
  const out = new Uint8Array(body.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i += 1) out[4 + i] = name.charCodeAt(i);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc(out.subarray(4, 8 + body.length)));
  return out;
}

function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRCS[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** A picture file as the server will read it: upright, its numbers as they are. Rejects what is no picture. */
export const decode = (blob) => createImageBitmap(blob, { colorSpaceConversion: "none" });

/** Pixels of a picture, 4 bytes each. `ground` is laid under what is transparent. */
export function pixelsOf(bitmap, ground) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = ground;
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

/** A picture as mask values: what its alpha channel says where that is not all opaque, else its brightness. */
export function maskValues(bitmap) {
  const pixels = pixelsOf(bitmap, "transparent");
  const values = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < values.length; i += 1) values[i] = pixels[i * 4 + 3];
  if (values.some((alpha) => alpha < 255)) return values;
  for (let i = 0, p = 0; i < values.length; i += 1, p += 4) {
    values[i] = Math.round(pixels[p] * 0.299 + pixels[p + 1] * 0.587 + pixels[p + 2] * 0.114);
  }
  return values;
}

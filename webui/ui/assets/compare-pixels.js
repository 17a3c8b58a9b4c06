// Two pictures as one: how much each pixel differs, and that in numbers. Knows no page.

const STRONGER = 4;  // differences are shown so many times as bright

/** Of two loaded images, on a canvas of the first one's size: {share: of pixels that differ, 0 to 1; mean: of 255}. */
export function drawDifference(canvas, first, second) {
  const { naturalWidth: width, naturalHeight: height } = first;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const one = pixels(context, first, width, height);
  const other = pixels(context, second, width, height);
  const shown = context.createImageData(width, height);
  const result = difference(one.data, other.data, shown.data);
  context.putImageData(shown, 0, 0);
  return result;
}

function pixels(context, image, width, height) {
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Levels of RGBA in three arrays of one length; the third is filled with the difference, brightened. */
export function difference(one, other, shown) {
  let pixelsThatDiffer = 0;
  let sum = 0;
  for (let i = 0; i < one.length; i += 4) {
    let largest = 0;
    for (let channel = i; channel < i + 3; channel += 1) {
      const apart = Math.abs(one[channel] - other[channel]);
      shown[channel] = apart * STRONGER;
      sum += apart;
      if (apart > largest) largest = apart;
    }
    shown[i + 3] = 255;
    if (largest) pixelsThatDiffer += 1;
  }
  const count = one.length / 4;
  return { share: pixelsThatDiffer / count, mean: sum / (3 * count) };
}

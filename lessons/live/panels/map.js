// A matrix as a picture: a pixel for each number, red above zero and blue below, as strong as it is large.

import { make } from "./dom.js";

export function heatMap(D, rows, columns, told) {
  const canvas = make("canvas", { width: columns, height: rows, role: "img" }), page = canvas.getContext("2d");
  canvas.setAttribute("aria-label", told);
  const image = page.createImageData(columns, rows), dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const colours = { above: dark ? [255, 143, 87] : [184, 74, 0], below: dark ? [98, 186, 240] : [0, 104, 163] };
  const sizes = Float32Array.from(D, Math.abs).sort(), most = sizes[Math.floor(0.995 * sizes.length)] || 1; // a few are far larger
  for (let i = 0; i < D.length; i++) {
    const strength = Math.min(1, Math.abs(D[i]) / most), [r, g, b] = D[i] > 0 ? colours.above : colours.below;
    image.data.set([r, g, b, 255 * strength], 4 * i); // the paper shows through where it is near zero
  }
  page.putImageData(image, 0, 0);
  return canvas;
}

// Numbers of 32 and of 16 bits: their bits, and rounding to the nearest (a tie to the even one). As minilora/rounding.py.

import { fromFloat16 } from "./weights.js";

export const KINDS = { // how many bits for exponent and fraction, beside the sign
  float32: { exponent: 8, fraction: 23 }, float16: { exponent: 5, fraction: 10 }, bfloat16: { exponent: 8, fraction: 7 },
};
// 2^-6 as it is written: "2⁻⁶"
export const power = (base, n) => base + String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));

const number = new Float32Array(1), word = new Uint32Array(number.buffer); // the same four bytes, read in two ways
const STEP = Array.from({ length: 31 }, (_, e) => 2 ** (e - 24)); // from one float16 to the next, by its exponent e - 14

function wordOf(x) { number[0] = x; return word[0]; }
function ofWord(bits) { word[0] = bits; return number[0]; }

export const ROUND = {
  float32: Math.fround,
  bfloat16: (x) => { const bits = wordOf(x); return ofWord((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000); },
  float16: (double) => {
    const e = ((wordOf(double) >>> 23) & 255) - 127, x = number[0], step = STEP[Math.max(e, -14) + 14]; // x: float32
    if (e > 15) return x > 0 ? Infinity : x < 0 ? -Infinity : NaN;
    const whole = x / step, rounded = Math.abs(whole % 1) === 0.5 ? 2 * Math.round(whole / 2) : Math.round(whole);
    return Math.abs(rounded * step) > 65504 ? Math.sign(x) * Infinity : rounded * step;
  },
};

// The bits of a number of this kind as one whole number, and back.
export function bitsOf(x, kind) {
  if (kind === "float32") return wordOf(x);
  const rounded = ROUND[kind](x);
  return kind === "bfloat16" ? wordOf(rounded) >>> 16 : float16Bits(rounded);
}

export function valueOf(bits, kind) {
  return kind === "float32" ? ofWord(bits) : kind === "bfloat16" ? ofWord(bits << 16) : fromFloat16(bits);
}

function float16Bits(x) { // of a number that a float16 has
  const sign = wordOf(x) >>> 31 ? 0x8000 : 0, size = Math.abs(x);
  if (size === Infinity) return sign | 0x7c00;
  const e = Math.max(((wordOf(size) >>> 23) & 255) - 127, -14), digits = size / STEP[e + 14]; // 1024 to 2047; below for the smallest
  return sign | (digits < 1024 ? digits : ((e + 15) << 10) | (digits - 1024));
}

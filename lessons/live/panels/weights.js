// A safetensors file: 8 bytes (the length of the header), the header as JSON, then the numbers of all tensors.
// Numbers of 16 bits become float32, which is exact: float32 has every float16 and every bfloat16.

const WIDTH = { F32: 4, F16: 2, BF16: 2 }; // bytes of a number

// -> {name: {shape, data: Float32Array}}. Throws an Error with one sentence for a file that is none.
export function readTensors(buffer) {
  const { header, begin } = readHeader(buffer), tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, from, to } = checked(name, entry);
    if (!Object.hasOwn(WIDTH, dtype)) throw new Error(`${name} has numbers of the type ${dtype}; expected F32, F16 or BF16`);
    const count = shape.reduce((a, b) => a * b, 1);
    if (count * WIDTH[dtype] !== to - from || begin + to > buffer.byteLength) throw new Error("the file of weights was cut off, or is damaged");
    tensors[name] = { shape, data: asFloat32(buffer.slice(begin + from, begin + to), dtype) };
  }
  return tensors;
}

function checked(name, entry) { // -> {dtype, shape, from, to}
  const whole = (numbers) => Array.isArray(numbers) && numbers.every((n) => Number.isSafeInteger(n) && n >= 0);
  const { dtype, shape, data_offsets: places } = entry ?? {};
  if (!whole(shape) || !whole(places) || places.length !== 2) throw new Error(`the header of the weights has no shape or no place for ${name}`);
  return { dtype, shape, from: places[0], to: places[1] };
}

function readHeader(buffer) {
  const length = buffer.byteLength < 8 ? NaN : Number(new DataView(buffer).getBigUint64(0, true));
  try {
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    if (header === null || typeof header !== "object" || Array.isArray(header)) throw new Error("not an object");
    return { header, begin: 8 + length };
  } catch { throw new Error("this is no safetensors file: it has no header"); }
}

function asFloat32(bytes, dtype) {
  if (dtype === "F32") return new Float32Array(bytes);
  const bits = new Uint16Array(bytes), numbers = new Float32Array(bits.length);
  if (dtype === "F16") return numbers.map((_, i) => fromFloat16(bits[i]));
  const words = new Uint32Array(numbers.buffer); // the same memory, read as whole numbers
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16; // a bfloat16 is the upper half of a float32
  return numbers;
}

// 1 sign, 5 exponent, 10 fraction:   ± 2^(e - 15) (1 + f / 1024),   and for e = 0   ± 2^-14 (f / 1024)
export function fromFloat16(bits) {
  const sign = bits & 0x8000 ? -1 : 1, e = (bits >> 10) & 31, f = bits & 1023;
  if (e === 31) return f ? NaN : sign * Infinity;
  return sign * (e ? POWERS[e] * (1 + f / 1024) : POWERS[1] * (f / 1024));
}
const POWERS = Array.from({ length: 31 }, (_, e) => 2 ** (e - 15));

// A faster matrix product of float32 for NumPy in a page: without it, a product of 128 x 128 takes five times as long.
//
// NumPy for WebAssembly has no BLAS: its own loop reads one number at a time. The loop here takes sixteen columns at once,
// with instructions that do four multiplications each. NumPy calls it in place of its own, for every shape and stride:
//     out[m, p] = sum over n of a[m, n] b[n, p]         a: (M, N), b: (N, P), out: (M, P)
// 1. Sixteen columns of b are copied side by side, into `packed`: (N, 16).
// 2. `kernel`, in WebAssembly, makes the sixteen sums for each row of a.

const WIDE = 16; // columns at once: four vectors of four float32
const FLOAT = 11; // NumPy's number for float32

// ---- the kernel, as the bytes of a WebAssembly module: kernel(a, stepM, stepN, packed, out, outM, M, N), all in bytes but M, N

const GET = 0x20, SET = 0x21, CONST = 0x41, ADD = 0x6a, LOOP = 0x03, AGAIN = 0x0d, END = 0x0b, VOID = 0x40, I32 = 0x7f, V128 = 0x7b;
const [A, STEP_M, STEP_N, PACKED, OUT, OUT_M, M, N, AT_A, AT_B, LEFT, SUM] = Array(12).keys(); // SUM and the next three: vectors
const length = (n) => (n < 128 ? [n] : [(n & 127) | 128, n >> 7]); // seven bits in each byte
const simd = (code, ...rest) => [0xfd, ...length(code), ...rest];
const vectors = [0, 1, 2, 3];
const move = (pointer, ...by) => [GET, pointer, ...by, ADD, SET, pointer];
const again = (counter) => [...move(counter, CONST, 0x7f), GET, counter, AGAIN, 0]; // counter -= 1, and the loop again unless it is 0
const add = (v) => [ // SUM[v] += a * packed[v]
  GET, SUM + v,
  GET, AT_A, ...simd(9, 2, 0), // a number of a, four times
  GET, AT_B, ...simd(0, 2, 16 * v), // four numbers of packed
  ...simd(230), ...simd(228), SET, SUM + v, // multiply, add
];
const body = [
  LOOP, VOID, // for each row of a
  GET, A, SET, AT_A, GET, PACKED, SET, AT_B, GET, N, SET, LEFT,
  ...vectors.flatMap((v) => [...simd(12, ...Array(16).fill(0)), SET, SUM + v]),
  LOOP, VOID, // for each n
  ...vectors.flatMap(add),
  ...move(AT_A, GET, STEP_N), ...move(AT_B, CONST, 0xc0, 0x00), // 64 bytes on
  ...again(LEFT), END,
  ...vectors.flatMap((v) => [GET, OUT, GET, SUM + v, ...simd(11, 2, 16 * v)]),
  ...move(A, GET, STEP_M), ...move(OUT, GET, OUT_M),
  ...again(M), END,
];
const section = (id, ...content) => [id, ...length(content.length), ...content];
const text = (word) => [word.length, ...new TextEncoder().encode(word)];
const code = [2, 3, I32, 4, V128, ...body, END]; // the local variables: AT_A, AT_B, LEFT; four vectors
const MODULE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, 1, 0x60, 8, ...Array(8).fill(I32), 0), // the type of kernel
  ...section(2, 1, ...text("env"), ...text("memory"), 2, 0, 0), // Python's own memory
  ...section(3, 1, 0),
  ...section(7, 1, ...text("kernel"), 0, 0),
  ...section(10, 1, ...length(code.length), ...code),
]);

// ---- NumPy's loop, see PyUFuncGenericFunction: args are three addresses, dims are (how many products, M, N, P), steps in bytes

export function useFastProducts(python) { // -> does NumPy use it now?
  if (!WebAssembly.validate(MODULE)) return false; // a browser without these instructions
  const { memory, addFunction, _malloc, _free } = python._module;
  const ufunc = python.runPython("import numpy as np; id(np.matmul)") / 4; // the C structure, in words of four bytes
  const words = () => new Int32Array(memory.buffer);
  const [inputs, outputs, , , functions, , kinds, , , types] = words().subarray(ufunc + 2);
  if (inputs !== 2 || outputs !== 1 || kinds > 100) return false; // another NumPy
  const bytes = new Uint8Array(memory.buffer);
  const chosen = [...Array(kinds).keys()].find((i) => [0, 1, 2].every((j) => bytes[types + 3 * i + j] === FLOAT));
  if (chosen === undefined) return false;

  const { kernel } = new WebAssembly.Instance(new WebAssembly.Module(MODULE), { env: { memory } }).exports;
  const word = (address, n) => words().subarray(address >>> 2, (address >>> 2) + n);
  let space = 0, room = 0; // for `packed`, and behind it sixteen columns of the result
  function loop(args, dims, steps) {
    const [count, rows, depth, columns] = word(dims, 4);
    const [aNext, bNext, outNext, aM, aN, bN, bP, outM, outP] = word(steps, 9);
    const needed = 4 * WIDE * (depth + rows);
    if (needed > room) { _free(space); space = _malloc(needed); room = needed; }
    const f = new Float32Array(memory.buffer); // after malloc, which may move the buffer
    const packed = space >>> 2, result = packed + WIDE * depth;
    let [a, b, out] = word(args, 3);
    for (let i = 0; i < count; i++, a += aNext, b += bNext, out += outNext) {
      for (let p = 0; p < columns; p += WIDE) {
        const wide = Math.min(WIDE, columns - p), direct = wide === WIDE && outP === 4;
        for (let n = 0; n < depth; n++) {
          let from = (b + n * bN + p * bP) >>> 2;
          const to = packed + n * WIDE, step = bP >> 2;
          for (let j = 0; j < WIDE; j++, from += step) f[to + j] = j < wide ? f[from] : 0;
        }
        if (rows && depth) kernel(a, aM, aN, space, direct ? out + 4 * p : 4 * result, direct ? outM : 4 * WIDE, rows, depth);
        else f.fill(0, result, result + WIDE * rows);
        if (direct && depth) continue;
        for (let m = 0; m < rows; m++)
          for (let j = 0; j < wide; j++) f[(out + m * outM + (p + j) * outP) >>> 2] = f[result + m * WIDE + j];
      }
    }
  }
  words()[functions / 4 + chosen] = addFunction(loop, "viiii");
  return true;
}

// The shipped base in plain JavaScript: a Llama decoder that reads one token at a time, and LoRA beside its matrices.
// The same equations as minilora/models/llama.py, in the same order.
//
// d width   H query heads, K key/value heads of width hd   m width inside the MLP   V vocabulary   S tokens so far
// A matrix W (out, in) is one Float32Array, row after row.

// y = W x:   y_o = Σ_i W_oi x_i.   Four rows at once take half the time: a number of x is read once for all four.
export function product(W, x, out) {
  const y = new Float32Array(out), n = x.length;
  let o = 0;
  for (; o + 4 <= out; o += 4) {
    const one = o * n, two = one + n, three = two + n, four = three + n;
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < n; i++) {
      const value = x[i];
      a += W[one + i] * value;
      b += W[two + i] * value;
      c += W[three + i] * value;
      d += W[four + i] * value;
    }
    y[o] = a; y[o + 1] = b; y[o + 2] = c; y[o + 3] = d;
  }
  for (; o < out; o++) for (let i = 0; i < n; i++) y[o] += W[o * n + i] * x[i]; // rows that are left
  return y;
}

// y = w x / ρ,   ρ² = mean(x²) + eps
function rmsNorm(x, w, eps) {
  let squares = 0;
  for (const value of x) squares += value * value;
  const rho = Math.sqrt(squares / x.length + eps);
  return x.map((value, i) => (value / rho) * w[i]);
}

// Turn each pair (x_i, x_{i + hd/2}) of a head by its token's angle:   y1 = x1 c - x2 s,   y2 = x2 c + x1 s
function rotate(x, heads, hd, cos, sin) {
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < hd / 2; i++) {
      const one = h * hd + i, two = one + hd / 2, x1 = x[one], x2 = x[two];
      x[one] = x1 * cos[i] - x2 * sin[i];
      x[two] = x2 * cos[i] + x1 * sin[i];
    }
  }
}

const silu = (x) => x / (1 + Math.exp(-x));
const add = (x, y) => x.map((value, i) => value + y[i]);

export class Llama {
  // config: the contents of config.json; tensors: as weights.readTensors gives them
  constructor(config, tensors) {
    this.config = config;
    this.tensors = tensors;
    this.hd = config.head_dim;
    this.frequencies = Array.from({ length: this.hd / 2 }, (_, i) => // θ^(-2i/hd), one for each pair of a head
      Math.fround(1 / Math.fround(config.rope_theta ** Math.fround((2 * i) / this.hd))));
  }

  weight(path) { return this.tensors[`${path}.weight`]; }

  // y = W x + Σ s B (A x) over the active adapters.   adapters: see lora.js
  linear(path, x, adapters) {
    const { shape: [out], data } = this.weight(path), y = product(data, x, out);
    for (const { parts, scale } of adapters) if (parts[path]) addUpdate(y, x, parts[path], scale);
    return y;
  }

  // One token and its place -> the logits (V) of the next one. cache: [{keys, values}] for each layer, which grows.
  // Without `wantsLogits` only the cache is filled: of a prompt, the last token alone needs them.
  forward(id, cache, adapters = [], wantsLogits = true) {
    const { hidden_size: d, num_hidden_layers: layers, rms_norm_eps: eps } = this.config, position = cache[0].keys.length;
    const angles = this.frequencies.map((f) => Math.fround(position * f)), cos = angles.map(Math.cos), sin = angles.map(Math.sin);
    let x = this.weight("model.embed_tokens").data.slice(id * d, (id + 1) * d); // (d): a row of the embedding
    for (let i = 0; i < layers; i++) {
      const at = `model.layers.${i}`, norm = (name, x) => rmsNorm(x, this.weight(`${at}.${name}_layernorm`).data, eps);
      x = add(x, this.attention(`${at}.self_attn`, norm("input", x), cache[i], cos, sin, adapters));
      x = add(x, this.mlp(`${at}.mlp`, norm("post_attention", x), adapters));
    }
    if (!wantsLogits) return null;
    const head = this.weight(this.config.tie_word_embeddings ? "model.embed_tokens" : "lm_head");
    return product(head.data, rmsNorm(x, this.weight("model.norm").data, eps), head.shape[0]);
  }

  // o(softmax(q kᵀ / √hd) v): the query of this token sees the keys of all tokens so far
  attention(at, x, cache, cos, sin, adapters) {
    const { num_attention_heads: H, num_key_value_heads: K } = this.config, hd = this.hd;
    const [q, k, v] = ["q", "k", "v"].map((name) => this.linear(`${at}.${name}_proj`, x, adapters)); // (H hd), (K hd), (K hd)
    rotate(q, H, hd, cos, sin);
    rotate(k, K, hd, cos, sin);
    cache.keys.push(k);
    cache.values.push(v);
    const o = new Float32Array(H * hd);
    for (let h = 0; h < H; h++) this.oneHead(q, cache, h * hd, Math.floor((h * K) / H) * hd, o); // H / K heads share a key
    return this.linear(`${at}.o_proj`, o, adapters);
  }

  oneHead(q, { keys, values }, at, shared, o) { // at: where the head begins in q and o; shared: in k and v
    const hd = this.hd, scores = keys.map((k) => {
      let sum = 0;
      for (let i = 0; i < hd; i++) sum += q[at + i] * k[shared + i];
      return sum / Math.sqrt(hd);
    });
    const largest = Math.max(...scores), e = scores.map((score) => Math.exp(score - largest)), total = e.reduce((a, b) => a + b);
    for (let s = 0; s < values.length; s++) {
      const p = e[s] / total, v = values[s];
      for (let i = 0; i < hd; i++) o[at + i] += p * v[shared + i];
    }
  }

  // down(silu(gate(x)) up(x))
  mlp(at, x, adapters) {
    const gate = this.linear(`${at}.gate_proj`, x, adapters), up = this.linear(`${at}.up_proj`, x, adapters);
    return this.linear(`${at}.down_proj`, gate.map((value, i) => silu(value) * up[i]), adapters);
  }

  emptyCache() { return Array.from({ length: this.config.num_hidden_layers }, () => ({ keys: [], values: [] })); }

  // The tokens behind the prompt, one after the other: each time the most likely one. Ends behind the end token.
  *generate(prompt, most, adapters = []) {
    const cache = this.emptyCache(), room = Math.min(most, this.config.max_position_embeddings - prompt.length);
    for (const id of prompt.slice(0, -1)) this.forward(id, cache, adapters, false);
    let id = prompt.at(-1);
    for (let n = 0; n < room; n++) {
      id = largest(this.forward(id, cache, adapters));
      yield id;
      if (id === this.config.eos_token_id) return;
    }
  }
}

function largest(numbers) { // -> where it is; the first of equal ones, as in NumPy
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

// y += s B (A x).   A (rows, in), B (out, rows); r: how many of the rows of A are used, with as many columns of B
export function addUpdate(y, x, { A, B, rows, r = rows }, scale) {
  const u = product(A, x, r); // the first r rows of A come first in memory
  for (let o = 0; o < y.length; o++) {
    let sum = 0;
    for (let i = 0; i < r; i++) sum += B[o * rows + i] * u[i];
    y[o] += scale * sum;
  }
}

// How much memory a training needs on a graphics card, for models built like Llama: the formulas of
// minilora/counting/memory.py and activations.py, with recomputed activations. A test compares the sums to the byte.
//
// A model: {d width, V vocabulary, layers, q width of the queries, kv of the keys, m inside the MLP, hd of a head where
// queries and keys have norms of their own, biases on q, k and v, tied head}

const GIB = 2 ** 30;
const CONTEXT = 1, OVERHEAD = 1.5; // GiB: the driver's part, and with what PyTorch's allocator holds back
const NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256); // a code of 4 bits; per 64 an 8-bit scale; per 256 scales a float32
export const METHODS = ["full", "LoRA", "4-bit + LoRA"];
export const TARGETS = { "q_proj,v_proj": ["q_proj", "v_proj"], "q_proj,k_proj,v_proj,o_proj": ["q_proj", "k_proj", "v_proj", "o_proj"], "all-linear": null };

const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);
const linear = (name, n_in, out, reads, feeds = "", bias = 0) => ({ name, kind: "linear", n_in, out, reads, feeds, weights: n_in * out, bias, times: 1 });
const norm = (name, width, times = 1) => ({ name, kind: "norm", n_in: width, out: width, weights: width, bias: 0, times });

// The weights of one layer, and those outside of all layers.
export function partsOf({ d, V, q, kv, m, hd, biases, tied }) {
  const bias = (out) => (biases ? out : 0);
  const layer = [
    norm("input", d),
    linear("q_proj", d, q, "norm 1", "attention", bias(q)), linear("k_proj", d, kv, "norm 1", "attention", bias(kv)),
    linear("v_proj", d, kv, "norm 1", "attention", bias(kv)), linear("o_proj", q, d, "attention"),
    ...(hd ? [norm("q_norm", hd, q / hd), norm("k_norm", hd, kv / hd)] : []),
    norm("post_attention", d),
    linear("gate_proj", d, m, "norm 2", "activation"), linear("up_proj", d, m, "norm 2", "activation"),
    linear("down_proj", m, d, "activation"),
  ];
  const embedding = { name: "embed_tokens", kind: "embedding", n_in: V, out: d, weights: V * d, bias: 0, times: 1 };
  return { layer, outside: [embedding, norm("norm", d), { ...linear("lm_head", d, V, "final"), tied }] };
}

// Parameters of the model, and of LoRA:   Σ r (in + out)   over the adapted matrices
export function count(model, { rank, targets }) {
  const { layer, outside } = partsOf(model), size = (p) => (p.tied ? 0 : p.weights) + p.bias;
  const chosen = layer.filter((p) => isChosen(p, targets));
  return {
    base: model.layers * sum(layer, size) + sum(outside, size),
    trainable: model.layers * sum(chosen, (p) => rank * (p.n_in + p.out)),
  };
}

const isChosen = (part, targets) => part.kind === "linear" && part.name !== "lm_head" && (TARGETS[targets]?.includes(part.name) ?? true);

// Bytes of a number that each kind of array has: see Precision in activations.py.
const PRECISION = {
  full: { product: 2, stream: 4, attention: 2, weight: 2, adapter: 0, narrow: 0 }, // with autocast
  LoRA: { product: 2, stream: 2, attention: 2, weight: 0, adapter: 4, narrow: 4 }, // adapters are in float32
  "4-bit + LoRA": { product: 2, stream: 2, attention: 2, weight: 0, adapter: 4, narrow: 4 },
};

// -> {name, frozen, trained, activations, bytes}: what is alive at the moment of a step when most is.
export function peak(model, method, settings) {
  const all = moments(model, method, settings);
  return all.reduce((most, moment) => (moment.bytes > most.bytes ? moment : most));
}

function moments(model, method, settings) {
  const { batch, length } = settings, tokens = batch * length;
  const parts = partsOf(model), step = stepOf(model, parts, method, settings);
  const { weights, gradients, optimizer } = step.states, loss = tokens * model.V;
  const before = weights.trained + optimizer, logits = loss * 2;
  const moment = (name, trained, activations) => ({ name, frozen: weights.frozen, trained, activations, bytes: weights.frozen + trained + activations });
  const inputs = tokens * (model.layers * step.input + step.outside);
  return [
    moment("as the forward pass ends", before, inputs + step.copies + loss * 10),
    moment("in the loss", before, inputs + step.copyOfHead + loss * 14), // 2 for the logits, 3 times 4 in float32
    backward(model, parts, step, tokens, before, logits, moment),
    moment("in the optimizer's step", before + gradients + step.work, logits),
  ];
}

const largest = (parts) => Math.max(...parts.map((p) => p.weights));

// What a step keeps and makes, per token and layer.
function stepOf(model, parts, method, settings) {
  const isFull = method === "full", p = PRECISION[method], { length } = settings, { layer, outside } = parts;
  const rank = (part) => (isFull ? 0 : isChosen(part, settings.targets) ? settings.rank : null); // null: not trained
  const copies = (some) => (isFull ? 2 * sum(some, (part) => (part.kind === "linear" ? part.weights : 0)) : 0); // autocast's
  const { base, trainable } = count(model, settings);
  const down = layer.at(-1);
  return {
    states: states(model, parts, method, base, trainable),
    input: p.stream * model.d, // of a layer: all that is kept, since the rest is computed again
    layer: kept(layer, rank, p, length), outside: kept(outside, rank, p, length) + length, // and the mask, once
    moment: down.n_in * (rank(down) === null ? 3 : 2) * p.product + (p.stream < 4 ? 12 : 4) * model.d, // gradients in the MLP
    gradients: isFull ? 4 * sum(layer, (part) => part.weights + part.bias) : (4 * trainable) / model.layers,
    gradientsOutside: isFull ? 4 * sum(outside.slice(1), (part) => part.weights + part.bias) : 0, // the embedding's comes last
    copies: model.layers * copies(layer) + copies(outside), copyOfHead: copies(outside), copiesOfLayer: copies(layer),
    work: isFull ? 8 * largest([...layer, ...outside]) : 0, // AdamW's, two arrays for one weight at a time
    oneMatrix: method === "4-bit + LoRA" ? 2 * largest(layer.filter((part) => part.kind === "linear")) : 0,
  };
}

// AdamW keeps m and v: 4 + 4 + 8 bytes for a trained number. A frozen one takes 2, or about half of one in 4 bit.
function states(model, { layer }, method, base, trainable) {
  if (method === "full") return { weights: { frozen: 0, trained: 4 * base }, gradients: 4 * base, optimizer: 8 * base };
  const quantized = method === "4-bit + LoRA" ? model.layers * sum(layer, (part) => (part.kind === "linear" ? part.weights : 0)) : 0;
  const frozen = Math.round((quantized * NF4_BITS) / 8) + 2 * (base - quantized);
  return { weights: { frozen, trained: 4 * trainable }, gradients: 4 * trainable, optimizer: 8 * trainable };
}

// Bytes per token that the backward pass of these parts reads again.
function kept(parts, rank, p, length) {
  const readers = groups(parts);
  let bytes = sum(parts, (part) => (part.kind === "norm" ? part.times * part.out * (4 + p.stream * (rank(part) !== null)) : 0));
  for (const [name, group] of Object.entries(readers)) {
    bytes += inputs(name, group, rank, p);
    if (name === "attention") bytes += 4 * p.attention * group[0].n_in + p.attention * length; // q, k, v, output; the mask
    if (name === "activation") bytes += p.product * 3 * group[0].n_in; // gate, up, and silu(gate)
  }
  return bytes + sum(parts, (part) => p.narrow * (rank(part) ?? 0)); // x A
}

function groups(parts) { // {what is read: [the matrices that read it]}
  const found = {};
  for (const part of parts) if (part.reads) (found[part.reads] ??= []).push(part);
  return found;
}

// dW = gᵀ x and dA = s (g B)ᵀ x need the input x: once where they can share it, or a copy for each.
function inputs(name, group, rank, p) {
  const whole = group.filter((part) => rank(part) === 0).length, adapted = group.filter((part) => rank(part)).length;
  if (!whole && !adapted) return 0;
  const in16Bit = name === "attention" || name === "activation";
  const copies = p.adapter * adapted + (in16Bit ? 0 : p.weight * whole);
  const shares = name !== "attention" && ((adapted && !p.adapter) || (whole && (in16Bit || !p.weight)));
  return group[0].n_in * (copies + (shares ? p.product : 0));
}

// The layer where the backward pass takes most: gradients of those above are there, activations of those below still.
function backward(model, parts, step, tokens, before, logits, moment) {
  const within = tokens * (step.layer + step.moment) + step.copiesOfLayer; // of the layer at work
  let most = null;
  for (let i = model.layers - 1; i >= 0; i--) {
    const gradients = step.gradientsOutside + (model.layers - 1 - i) * step.gradients;
    const here = tokens * (i + 1) * step.input + within + gradients;
    if (!most || here > most.here) most = { here, i, gradients };
  }
  const below = tokens * (step.outside + (most.i + 1) * step.input);
  return moment(`in the backward pass of layer ${most.i}`, before + most.gradients, below + within + step.oneMatrix + logits);
}

// Whether it fits a card that reports so many GiB: "fits", "tight" (less is left than PyTorch wants), or "no".
export function verdict(bytes, gib) {
  const free = gib - bytes / GIB;
  return free >= OVERHEAD ? "fits" : free >= CONTEXT ? "tight" : "no";
}

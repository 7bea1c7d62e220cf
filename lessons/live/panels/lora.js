// A LoRA adapter as PEFT writes it: adapter_config.json and the tensors of adapter_model.safetensors.
//
//     {parts: {"model.layers.0.self_attn.q_proj": {A, B, rows}}, scale}        ΔW = s B A,   s = α / r  or  α / √r

const NAME = /^base_model\.model\.(.+)\.lora_(A|B)\.weight$/;
const NOT_HERE = ["use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "rank_pattern", "alpha_pattern"];

// α / r (LoRA) or α / √r (rsLoRA): the one place, as `scaling` in minilora/methods/lora.py
export const scaling = (alpha, r, rankStabilised = false) => alpha / (rankStabilised ? Math.sqrt(r) : r);

// model: the Llama that it shall fit. Throws an Error with one sentence where the adapter is another one.
export function loraOf(config, tensors, model) {
  if (config?.peft_type !== "LORA") throw new Error(`the adapter is of the kind ${config?.peft_type ?? "none"}; this page runs LORA`);
  const odd = NOT_HERE.find((name) => config[name] === true || Object.keys(config[name] ?? {}).length);
  if (odd) throw new Error(`the adapter uses ${odd}, which this page does not run; minilora in Python does`);
  const parts = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const [, path, letter] = NAME.exec(name) ?? [];
    if (!path || !model.weight(path)) throw new Error(`the tensor ${name} has no place in this base`);
    (parts[path] ??= {})[letter] = tensor;
  }
  if (!Object.keys(parts).length) throw new Error("the file has no adapter: no tensor in it");
  if (!(config.r > 0 && Number.isFinite(config.lora_alpha))) throw new Error("adapter_config.json says no rank r, or no lora_alpha");
  const s = scaling(config.lora_alpha, config.r, config.use_rslora);
  return { parts: Object.fromEntries(Object.entries(parts).map(([path, part]) => [path, checked(path, part, model)])), scale: s };
}

function checked(path, { A, B }, model) { // -> {A, B, rows}
  if (!A || !B) throw new Error(`${path} has ${A ? "an A and no B" : "a B and no A"}`);
  const [out, n_in] = model.weight(path).shape, rows = A.shape[0];
  const fits = A.shape.length === 2 && A.shape[1] === n_in && B.shape.length === 2 && B.shape[0] === out && B.shape[1] === rows;
  if (!fits) throw new Error(`${path} has A (${A.shape}) and B (${B.shape}), which do not fit W (${out},${n_in}) of this base`);
  return { A: A.data, B: B.data, rows };
}

// The same adapter with the first r rows of A and columns of B alone.
export function firstRows({ parts, scale }, r) {
  return { parts: Object.fromEntries(Object.entries(parts).map(([path, part]) => [path, { ...part, r: Math.min(r, part.rows) }])), scale };
}

// B A of one part, (out, in), row after row: its first r rows of A alone where it says so.
export function dense({ A, B, rows, r = rows }, scale = 1) {
  const out = B.length / rows, n_in = A.length / rows, D = new Float32Array(out * n_in);
  for (let o = 0; o < out; o++) {
    for (let k = 0; k < r; k++) {
      const b = scale * B[o * rows + k];
      for (let i = 0; i < n_in; i++) D[o * n_in + i] += b * A[k * n_in + i];
    }
  }
  return D;
}

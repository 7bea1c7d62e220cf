// What the panels share: the base, its tokenizer and the adapters, each fetched once, when a panel first needs it.

import { Llama } from "./llama.js";
import { loraOf } from "./lora.js";
import { Tokenizer } from "./tokenizer.js";
import { readTensors } from "./weights.js";

const fetched = new Map(); // name -> the promise of its contents

// The contents of a file beside this module. One that failed is tried again the next time.
function once(name, read) {
  if (!fetched.has(name)) fetched.set(name, read().catch((error) => { fetched.delete(name); throw error; }));
  return fetched.get(name);
}

async function answer(name) {
  const found = await fetch(new URL(name, import.meta.url)).catch(() => null);
  if (!found?.ok) throw new Error(`${name.split("/").pop()} could not be loaded: check the connection, and try again.`);
  return found;
}

export const json = (name) => once(name, async () => (await answer(name)).json());
export const text = (name) => once(name, async () => (await answer(name)).text());
export const tensors = (name) => once(name, async () => readTensors(await (await answer(name)).arrayBuffer()));

export const loadBase = () => once("base", async () => {
  const [config, spec, weights] = await Promise.all([json("config.json"), json("tokenizer.json"), tensors("base.safetensors")]);
  return { model: new Llama(config, weights), tokenizer: new Tokenizer(spec) };
});

export const loadAdapter = (name) => once(`adapter ${name}`, async () => {
  const [{ model }, config, weights] = await Promise.all([loadBase(), json(`${name}.json`), tensors(`${name}.safetensors`)]);
  return loraOf(config, weights, model);
});

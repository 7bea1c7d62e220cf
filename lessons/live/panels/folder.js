// An adapter as a folder of PEFT: the two files, or one ZIP archive with them.

import { loraOf } from "./lora.js";
import { readTensors } from "./weights.js";
import { readZip } from "./zip.js";

export const CONFIG = "adapter_config.json", TENSORS = "adapter_model.safetensors";

// files: [File] -> {name: Uint8Array} of both. Throws an Error with one sentence.
export async function readFolder(files) {
  const found = {};
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (!/\.zip$/i.test(file.name)) found[file.name] = bytes;
    else Object.assign(found, await readZip(bytes).catch((error) => { throw new Error(`${file.name} cannot be opened: ${error.message}.`); }));
  }
  const named = Object.keys(found).join(", ") || "nothing";
  for (const name of [CONFIG, TENSORS]) if (!found[name]) throw new Error(`${name} is missing among ${named}: choose both files of the adapter, or a ZIP archive with them.`);
  return { [CONFIG]: found[CONFIG], [TENSORS]: found[TENSORS] };
}

// -> what llama.js runs beside its matrices
export function adapterOf(files, model) {
  let config;
  try { config = JSON.parse(new TextDecoder().decode(files[CONFIG])); } catch { throw new Error(`${CONFIG} is no JSON.`); }
  const bytes = files[TENSORS];
  return loraOf(config, readTensors(bytes.slice().buffer), model);
}

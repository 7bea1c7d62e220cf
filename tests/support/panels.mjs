// Answers questions about the modules in a site's panels/, for the tests in Python: JSON on standard input and output.
//     node panels.mjs FOLDER < [{"do": "ids", "text": "..."}, ...]

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const load = (name) => import(pathToFileURL(`${folder}/${name}.js`));
const bytes = (name) => { const b = readFileSync(`${folder}/${name}`); return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength); };
const json = (name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf-8"));
const [{ readTensors }, { Tokenizer }, { Llama }, { loraOf }] = await Promise.all(["weights", "tokenizer", "llama", "lora"].map(load));

const tokenizer = new Tokenizer(json("tokenizer.json"));
const model = new Llama(json("config.json"), readTensors(bytes("base.safetensors")));
const adapter = (name) => loraOf(json(`${name}.json`), readTensors(bytes(`${name}.safetensors`)), model);
const adapters = (names) => (names ?? []).map(adapter);

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const unpacked = (files) => Object.fromEntries(Object.entries(files).map(([name, text]) => [name, new Uint8Array(Buffer.from(text, "base64"))]));
const packed = (files) => Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, base64(bytes)]));

const can = {
  rounded: async ({ kind, values }) => {
    const { ROUND, bitsOf, valueOf } = await load("numbers");
    return values.map((x) => [ROUND[kind](x), bitsOf(x, kind), valueOf(bitsOf(x, kind), kind)]);
  },
  drift: async ({ W, updates, kind, swaps }) => {
    const [{ Swapped }, { ROUND }] = await Promise.all(["swap", "numbers"].map(load)), swapped = new Swapped(W, updates, ROUND[kind]);
    for (let n = 0; n < swaps; n++) swapped.swap();
    return swapped.drift;
  },
  directions: async ({ path, r }) => {
    const { firstRows, dense } = await load("lora");
    return [...dense(firstRows(adapter("directions"), r).parts[path])];
  },
  lines: async ({ text }) => (await load("lines")).readLines(text, tokenizer),
  written: async ({ files }) => base64((await load("zip")).writeZip(unpacked(files))),
  read: async ({ files }) => {
    const { readFolder, adapterOf } = await load("folder");
    const given = Object.entries(unpacked(files)).map(([name, bytes]) => ({ name, arrayBuffer: async () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) }));
    const found = await readFolder(given), run = adapterOf(found, model);
    return { files: packed(found), scale: run.scale, parts: Object.keys(run.parts).length };
  },
  ids: ({ texts }) => texts.map((text) => tokenizer.encode(text)),
  texts: ({ ids }) => ids.map((row) => tokenizer.decode(row)),
  logits: ({ ids, names }) => {
    const cache = model.emptyCache(), active = adapters(names);
    return ids.map((id) => [...model.forward(id, cache, active)]);
  },
  answers: ({ prompts, names, most }) => {
    const active = adapters(names), began = performance.now(), ids = prompts.map((p) => [...model.generate(p, most, active)]);
    return { texts: ids.map((row) => tokenizer.decode(row).trim()), tokens: ids.flat().length, seconds: (performance.now() - began) / 1000 };
  },
  call: async ({ module, name, with: values }) => (await load(module))[name](...values),
};

const replies = [];
for (const asked of JSON.parse(readFileSync(0, "utf-8"))) {
  try { replies.push(await can[asked.do](asked)); } catch (error) { replies.push({ error: error.message }); }
}
process.stdout.write(JSON.stringify(replies));

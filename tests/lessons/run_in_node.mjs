// Runs cells in Pyodide under node, by the code that a page uses (python.js of the site).
// node run_in_node.mjs SITE < {"cells": [source, ...]}   SITE: a site with its own Pyodide (--vendor)
// A line of JSON for the start, {"started": seconds}, and for each cell {"seconds", "printed", "pictures", "step", "error", "kept"}.

import fs from "node:fs";
import { pathToFileURL } from "node:url";

const site = fs.realpathSync(process.argv[2]);
const at = (name) => pathToFileURL(`${site}/${name}`).href;
const { startPython } = await import(at("python.js"));
const { loadPyodide } = await import(at("pyodide/pyodide.mjs"));
const pinned = JSON.parse(fs.readFileSync(`${site}/pyodide.json`, "utf-8"));
const archive = new Uint8Array(fs.readFileSync(`${site}/${fs.readdirSync(site).find((name) => name.startsWith("minilora-"))}`)).buffer;
const { cells, kept } = JSON.parse(fs.readFileSync(0, "utf-8"));

let printed = "", pictures = 0, step = "";
function tell(message) {
  printed += message.text ?? "";
  pictures += message.picture ? 1 : 0;
  step = message.step ?? step;
}
const since = (start) => (performance.now() - start) / 1000;
const report = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const start = performance.now();
const options = { indexURL: `${site}/pyodide/`, packageBaseUrl: `${site}/pyodide/`, lockFileContents: pinned.lock };
const { run } = await startPython(loadPyodide, options, { archive, kept: kept ?? "" }, tell);
report({ started: since(start) });
for (const [i, cell] of cells.entries()) {
  const begun = performance.now();
  printed = "";
  pictures = 0;
  const result = await run(cell, `cell ${i + 1}`);
  report({ seconds: since(begun), printed, pictures, step, ...result });
  if (result.error) break;
}
process.stdout.write("", () => process.exit(0)); // after all lines are out

// Python in a worker, so that a long cell never blocks the page.
// Messages in:  {start: {archive, kept, interrupt}} once, then {run: code, name}, one at a time
// out:          {status}, {ready}, {step}, {text}, {picture, alt}, {done, error, kept}, {failed}
// pyodide.json, beside this file, says which Pyodide: its address, its version and the SHA-256 of each file.

import { startPython } from "./python.js";

const plainFetch = fetch;
const inBase64 = (digits) => btoa(digits.replace(/../g, (two) => String.fromCharCode(parseInt(two, 16))));

async function fetchFile(address, sha256) { // -> the response, whose content the browser has compared with sha256
  const name = String(address).split("/").pop();
  let response;
  try {
    response = await plainFetch(address, sha256 ? { integrity: `sha256-${inBase64(sha256)}` } : {});
  } catch {
    const there = await plainFetch(address, { method: "HEAD" }).then((r) => r.ok, () => false);
    throw new Error(there && sha256 ? `${name} is not the file that this site was made with, so it is not run` : `${name} cannot be loaded`);
  }
  if (!response.ok) throw new Error(`${name} cannot be loaded: the server answers ${response.status}`);
  return response;
}

async function start({ archive, kept, interrupt }) {
  postMessage({ status: "loading Python" });
  const pinned = await (await fetchFile(new URL("pyodide.json", import.meta.url))).json();
  const [core, packages] = [pinned.core, pinned.packages].map((folder) => new URL(folder, import.meta.url).href);
  const checked = (name) => fetchFile(core + name, pinned.sha256[name]);
  const imported = async (name) => { // a module can be imported from an address only, so it gets one when it is checked
    const script = new Blob([await (await checked(name)).text()], { type: "text/javascript" });
    return import(URL.createObjectURL(script));
  };
  // Pyodide loads its other files by fetch: those with a known hash go through the same check. It waits forever for one
  // that is lost, so `lost` ends the start.
  let lose;
  const lost = new Promise((_, reject) => { lose = reject; });
  globalThis.fetch = (address, options) => {
    const name = String(address.url ?? address).split("/").pop();
    const unpinned = () => plainFetch(address, options).catch(() => { throw new Error(`${name} cannot be loaded`); });
    const file = pinned.sha256[name] ? checked(name) : unpinned();
    file.catch(lose);
    return file;
  };
  const [{ loadPyodide }, { default: createPyodideModule }, code] = await Promise.all([
    imported("pyodide.mjs"), imported("pyodide.asm.mjs"), fetchFile(archive),
  ]);
  const options = { indexURL: core, packageBaseUrl: packages, lockFileContents: pinned.lock, createPyodideModule };
  const started = startPython(loadPyodide, options, { archive: await code.arrayBuffer(), kept, interrupt }, postMessage);
  const { run } = await Promise.race([started, lost]);
  postMessage({ ready: true });
  return run;
}

let work; // a promise of the function that runs a cell
onmessage = ({ data }) => {
  if (data.start) work = start(data.start);
  else work = work.then(async (run) => { postMessage({ done: true, ...(await run(data.run, data.name ?? "cell")) }); return run; });
  work.catch((error) => postMessage({ failed: error.message ?? String(error) }));
};

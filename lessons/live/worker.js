// Python in the page: Pyodide, NumPy and minilora in a worker, so that a long cell never blocks the page.
// Messages in:  {start: {core, archive, figures}}, {run: code}, one at a time    out: {status}, {ready}, {text}, {picture, alt}, {done, error}, {failed}
// The page ends this worker to interrupt a cell, and starts another.

let python, written = 0;
const MOST = 200000; // characters that one cell may print: more would freeze the page, and nobody reads it

function write(text) {
  if (written > MOST) return;
  written += text.length;
  postMessage({ text: written > MOST ? text.slice(0, 1000) + "\n(more was printed; the page shows no more)\n" : text });
}

async function start({ core, archive, figures }) {
  postMessage({ status: "loading Python" });
  const { loadPyodide } = await import(core + "pyodide.mjs");
  python = await loadPyodide({ indexURL: core });
  const decoder = new TextDecoder(), out = { write: (bytes) => (write(decoder.decode(bytes, { stream: true })), bytes.length) };
  python.setStdout(out);
  python.setStderr(out);
  postMessage({ status: "loading NumPy" });
  await python.loadPackage(figures ? ["numpy", "matplotlib"] : ["numpy"], { messageCallback: () => {} });
  postMessage({ status: "loading minilora" });
  python.FS.mkdirTree("/minilora");
  python.unpackArchive(await (await fetch(archive)).arrayBuffer(), "zip", { extractDir: "/minilora" });
  python.runPython("import sys; sys.path.insert(0, '/minilora')");
  globalThis.minilora_show = (picture, alt) => postMessage({ picture, alt });
  await python.runPythonAsync("import minilora.course.lesson");
  postMessage({ ready: true });
}

async function run(code) {
  written = 0;
  try {
    const value = await python.runPythonAsync(code, { filename: "<cell>" });
    if (value !== undefined && value !== null) {
      write(String(value) + "\n");
      value.destroy?.();
    }
    postMessage({ done: true });
  } catch (error) {
    const lines = String(error.message).split("\n"), from = lines.findIndex((line) => line.includes('"<cell>"'));
    postMessage({ done: true, error: (from < 0 ? lines : lines.slice(from)).join("\n").trim() });
  }
}

let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(() => (data.start ? start(data.start) : run(data.run))).catch((error) => postMessage({ failed: String(error) }));
};

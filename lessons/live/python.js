// Python with NumPy and minilora: what the worker of a page starts, and what the tests start in node.

import { useFastProducts } from "./products.js";

const LONGEST = 200_000; // characters that one cell may print: more would freeze the page, and nobody reads it
const MOST_PICTURES = 50; // that one cell may show
const NO_INPUT = `
import builtins
def input(prompt=""):
    raise RuntimeError("a cell in a page cannot ask the reader: write the value into the cell")
builtins.input = input
del input
`;
const DRAWS = /\bshow_axes\(|\bmatplotlib\b/; // a cell that needs matplotlib, which takes a second to load

// tell(message): {status}, {step}, {text} or {picture, alt}. kept: what `course/browser.py` wrote in an earlier page, or "".
export async function startPython(loadPyodide, options, { archive, kept, interrupt }, tell) {
  const python = await loadPyodide(options);
  const printed = limited((text) => tell({ text }));
  for (const stream of ["setStdout", "setStderr"]) python[stream]({ write: printed.write });
  let pictures = 0;
  globalThis.minilora_show = (picture, alt) => { if (++pictures <= MOST_PICTURES) tell({ picture, alt }); };

  globalThis.minilora_step = (step) => tell({ step });

  async function load(name) {
    await python.loadPackage(name, { messageCallback: () => {}, errorCallback: () => {} }).catch(() => {});
    if (!python.loadedPackages[name]) throw new Error(`${name} cannot be loaded: check the connection`);
  }
  tell({ status: "loading NumPy" });
  await load("numpy");
  useFastProducts(python);
  tell({ status: "loading minilora" });
  python.FS.mkdirTree("/minilora");
  python.unpackArchive(archive, "zip", { extractDir: "/minilora" });
  python.runPython("import sys; sys.path.insert(0, '/minilora'); sys.stdout.reconfigure(line_buffering=True)");
  python.runPython(NO_INPUT);
  const course = python.pyimport("minilora.course.browser");
  if (kept) course.recall(kept, "/answers");
  if (interrupt) python.setInterruptBuffer(interrupt);

  async function run(code, name) { // -> {error, kept}
    printed.begin();
    pictures = 0;
    if (DRAWS.test(code) && !python.loadedPackages.matplotlib) {
      tell({ status: "loading matplotlib" });
      try { await load("matplotlib"); } catch (error) { return { error: `${error.message} and run the cell again` }; }
      tell({ status: "running" });
    }
    const error = until(() => course.run_cell(code, name));
    if (interrupt) interrupt[0] = 0; // one that comes after the end of the cell
    return { error, kept: course.kept() };
  }
  return { python, run };
}

function until(cell) { // an interrupt may also come while Python leaves the cell
  try { return cell(); } catch (error) {
    if (error.type === "KeyboardInterrupt") return error.type;
    throw error;
  }
}

function limited(tell) { // bytes of Python's output -> texts, until the cell has printed enough
  const decoder = new TextDecoder();
  let written = 0;
  function write(bytes) {
    const room = LONGEST - written;
    written += bytes.length;
    if (room > 0) tell(decoder.decode(bytes.subarray(0, room), { stream: true }));
    if (room > 0 && written >= LONGEST) tell("\n(the cell printed more; the page shows no more)\n");
    return bytes.length;
  }
  return { write, begin() { written = 0; } };
}

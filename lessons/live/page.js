// A lesson in the page: cells to run, edit, reset and stop. kept.js keeps what is typed and answered, worker.js has Python.

import * as kept from "./kept.js";
import { keepTables, picture } from "./output.js";

const { lesson, worker: address, archive } = document.body.dataset;
const cells = [...document.querySelectorAll("section.cell")].filter((cell) => cell.querySelector("textarea:not([readonly])"));
const find = (id) => document.getElementById(id);
const say = (text) => { find("state").textContent = text; };
const named = (cell) => `${lesson}/${cell.dataset.key}`;
const areaOf = (cell) => cell.querySelector("textarea");

let worker = null, ready = false, interrupt = null; // interrupt: a byte that Python looks at, where the browser allows it
let queue = [], current = null, stopping = false; // cells that wait, and the one that runs
let began = 0, step = ""; // of the one that runs: when, and where its training is
let known = new Set(); // cells whose names Python knows now
let pending = ""; // text of the running cell that is not shown yet

// ---- Python

function moduleWorkers() { // does the browser know them? It reads `type` only if it does
  let asked = false;
  try { new Worker("data:,", { get type() { asked = true; return "module"; } }).terminate(); } catch { /* it told already */ }
  return asked;
}

const unable =
  typeof WebAssembly !== "object" ? "This browser has no WebAssembly, so cells cannot run here. What you read was printed on another machine."
  : !moduleWorkers() ? "This browser is too old to run cells: take one from 2023 or later. What you read was printed on another machine."
  : "";

function begin() {
  if (worker) return;
  interrupt = window.crossOriginIsolated ? new Uint8Array(new SharedArrayBuffer(1)) : null;
  worker = new Worker(address, { type: "module" });
  worker.onmessage = ({ data }) => receive(data);
  worker.onerror = (event) => failed(event.message || "the files of Python cannot be loaded");
  worker.postMessage({ start: { archive: new URL(archive, location.href).href, kept: kept.answers(), interrupt } });
}

function end() { // the worker, and with it every name
  worker?.terminate();
  worker = null; ready = false; stopping = false; known = new Set();
  clearQueue();
}

function clearQueue() { // nothing runs and nothing waits
  flush();
  for (const cell of [current, ...queue]) cell?.classList.remove("busy");
  queue = []; current = null;
}

function failed(why) {
  const started = ready, before = [...known];
  end();
  say(`Python ${started ? "has ended" : "did not start"}: ${why}. What you typed is kept. Press Run to try again.`);
  offer(before);
}

function receive(data) {
  if (data.failed) return failed(data.failed);
  if (data.status) return say(`${data.status} ...`);
  if (data.ready) { ready = true; serviceWorker?.postMessage("keep"); say(current ? "running" : "ready"); return next(); }
  if (!current) return;
  if (data.step) step = data.step;
  if (data.text) { if (!pending) setTimeout(flush, 50); pending += data.text; }
  if (data.picture) { flush(); outOf(current).append(picture(data.picture, data.alt)); }
  if (data.done) { flush(); done(current, data); }
}

const outOf = (cell) => cell.querySelector(".out");

function flush() { // many short prints become one change of the page
  if (pending && current) {
    let last = outOf(current).lastElementChild;
    if (last?.className !== "out") last = outOf(current).appendChild(Object.assign(document.createElement("pre"), { className: "out" }));
    last.append(pending);
  }
  pending = "";
}

function done(cell, { error, kept: found }) {
  cell.classList.remove("busy");
  current = null;
  showSeconds();
  for (const pre of outOf(cell).querySelectorAll("pre")) keepTables(pre);
  const notes = found ? kept.keepAnswers(found) : [];
  if (error) return wrong(cell, error);
  cell.classList.add("ran");
  known.add(cell);
  kept.put("ran", named(cell), "1");
  progress();
  say(notes[0] ?? (queue.length ? "running" : "ready"));
  next();
}

function wrong(cell, error) {
  outOf(cell).append(Object.assign(document.createElement("pre"), { className: "out error", textContent: error }));
  cell.classList.remove("ran"); // its check mark was for what the cell had before
  kept.remove("ran", named(cell));
  clearQueue(); // the cells behind one that failed are not run
  progress();
  if (stopping) { stopping = false; return say("stopped: the cells that ran before keep their names"); }
  const missing = above(cell).filter((other) => !known.has(other));
  if (/\nNameError: /.test(error) && missing.length) {
    say("a name is not known: cells above have not run yet");
    return offer(missing, cell);
  }
  say("the cell ended with an error");
}

function next() {
  if (!ready || current || !queue.length) return;
  current = queue.shift();
  outOf(current).replaceChildren();
  began = Date.now(); step = "";
  if (interrupt) interrupt[0] = 0;
  say("running");
  worker.postMessage({ run: areaOf(current).value, name: `cell ${current.dataset.n}` });
}

function run(...chosen) {
  if (unable) return say(unable);
  if (!worker && loadAgain(chosen)) return;
  offer([]);
  begin();
  for (const cell of chosen) {
    if (cell.classList.contains("busy")) continue;
    cell.classList.add("busy");
    queue.push(cell);
  }
  next();
}

const above = (cell) => cells.slice(0, cells.indexOf(cell));

function stop() {
  if (!worker) return say("nothing runs");
  if (current && interrupt && !stopping) {
    for (const cell of queue) cell.classList.remove("busy");
    queue = []; stopping = true; interrupt[0] = 2; // Python raises KeyboardInterrupt
    return say("stopping: press Stop again to end Python at once");
  }
  const before = [...known].filter((cell) => !current || cells.indexOf(cell) < cells.indexOf(current));
  end();
  say("stopped. Python begins anew, without the names of the cells that ran.");
  offer(before);
}

let offered = [];
function offer(chosen, ...last) { // a button that runs these cells, in their order on the page, and then the last
  offered = [...cells.filter((cell) => chosen.includes(cell)), ...last];
  find("again").hidden = !chosen.length;
  const above = chosen.length === 1 ? "the cell above" : `the ${chosen.length} cells above`;
  find("again").textContent = `Run ${above}${last.length ? " and this one" : ""}`;
}

// ---- the page

function fit(area) { area.rows = 1; area.style.height = "auto"; area.style.height = area.scrollHeight + 2 + "px"; }

function typed(cell) {
  const text = areaOf(cell).value;
  fit(areaOf(cell));
  if (text === cell.dataset.source) kept.remove("cells", named(cell));
  else if (!kept.put("cells", named(cell), text)) say("This browser keeps nothing: save your answers as a file before you leave.");
}

function progress() {
  const ran = cells.filter((cell) => cell.classList.contains("ran")).length;
  const numbers = cells.flatMap((cell) => cell.dataset.exercise ?? []);
  const passed = numbers.filter((number) => kept.get("states", number) === "passed").length;
  find("progress").textContent =
    `${ran} of ${cells.length} cells run` + (numbers.length ? `, ${passed} of ${numbers.length} exercises passed` : "");
  for (const cell of cells) if (cell.dataset.exercise) cell.classList.toggle("passed", kept.get("states", cell.dataset.exercise) === "passed");
}

function comeBack(cell) { // what was typed at an earlier visit; the output in the page is not of that text
  const text = kept.get("cells", named(cell)), number = cell.dataset.exercise;
  if (text === null) return;
  areaOf(cell).value = text;
  areaOf(cell).dispatchEvent(new Event("input")); // for its colours
  const passed = number && kept.get("states", number) === "passed";
  const textContent = passed ? `${number}: passed. Press Run to check it again.` : "This is your text. Press Run to see what it prints.";
  outOf(cell).replaceChildren(Object.assign(document.createElement("p"), { className: "note", textContent }));
}

const before = new Map(); // cell -> what was typed there before it was reset

function reset(cell, button) { // and a second press brings back what was typed
  const area = areaOf(cell), back = area.value === cell.dataset.source && before.has(cell);
  if (!back) before.set(cell, area.value);
  area.value = back ? before.get(cell) : cell.dataset.source;
  button.textContent = back || before.get(cell) === cell.dataset.source ? "Reset" : "Undo reset";
  typed(cell);
}

function keys(event, cell) {
  const area = event.target;
  if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); run(cell); }
  if (event.key === "Escape") area.blur(); // Tab indents, so Escape leaves the cell
  if (event.key === "Tab" && !event.shiftKey) {
    event.preventDefault();
    area.setRangeText("    ", area.selectionStart, area.selectionEnd, "end");
    typed(cell);
  }
}

for (const cell of cells) {
  const area = areaOf(cell);
  cell.dataset.source = area.defaultValue;
  comeBack(cell);
  cell.classList.toggle("ran", kept.get("ran", named(cell)) !== null);
  area.addEventListener("input", () => typed(cell));
  area.addEventListener("keydown", (event) => keys(event, cell));
  const press = (name, act) => cell.querySelector(`[data-do=${name}]`).addEventListener("click", act);
  press("run", () => run(cell));
  press("above", () => run(...above(cell), cell));
  press("reset", ({ target }) => reset(cell, target));
}
const areas = document.querySelectorAll("section.cell textarea");
const fitAll = () => areas.forEach(fit);
fitAll();
addEventListener("resize", fitAll);
document.querySelector("main").addEventListener("toggle", fitAll, true); // what was folded has its lines now

find("stop").addEventListener("click", stop);
find("all").addEventListener("click", () => run(...cells));
find("again").addEventListener("click", () => run(...offered));
find("save").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([kept.asFile()], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: address, download: "minilora-answers.json" }).click();
  say("Your answers of all lessons are in the file minilora-answers.json.");
});
find("open").addEventListener("change", async ({ target }) => {
  try {
    const found = await kept.readFile(target.files[0]);
    const n = kept.different(found);
    if (n && !confirm(`${n === 1 ? "1 text of this browser is" : `${n} texts of this browser are`} replaced by what ${target.files[0].name} has. Go on?`)) return;
    if (!kept.takeOver(found)) throw new Error("this browser has no room for the answers");
    kept.put("said", "opened", `The answers of ${target.files[0].name} are in this browser now.`);
    location.reload();
  } catch (error) { say(`${error.message}. Nothing was changed.`); }
  target.value = "";
});
function showSeconds() { // a long cell shows that it is alive
  const seconds = current ? Math.round((Date.now() - began) / 1000) : 0;
  find("seconds").textContent = seconds > 1 ? `${seconds} s${step && `, ${step}`}` : "";
}
setInterval(showSeconds, 1000);

// ---- the service worker: on https and localhost only, where a browser allows it

let serviceWorker = null;

async function beginService() {
  await navigator.serviceWorker.register("service.js");
  serviceWorker = (await navigator.serviceWorker.ready).active;
  navigator.serviceWorker.addEventListener("message", () => { find("offline").textContent = "kept for use without a connection"; });
}

function loadAgain(chosen) { // -> is the page loaded again? Only then has it the headers; the first visit begins without them
  if (!serviceWorker || window.crossOriginIsolated || sessionStorage.getItem("minilora/again") !== null) return false;
  const again = { numbers: chosen.map((cell) => cells.indexOf(cell)), top: chosen.at(-1).getBoundingClientRect().top };
  sessionStorage.setItem("minilora/again", JSON.stringify(again));
  location.reload();
  return true;
}

function goOn() { // with the cells for which the page was loaded again
  const again = JSON.parse(sessionStorage.getItem("minilora/again") || "null");
  if (!again) return;
  sessionStorage.setItem("minilora/again", "");
  const waiting = again.numbers.map((i) => cells[i]);
  scrollBy({ top: waiting.at(-1).getBoundingClientRect().top - again.top, behavior: "instant" }); // where the reader was
  run(...waiting);
}

say(unable || kept.get("said", "opened") || "Press Run at any cell: Python starts in this page.");
kept.remove("said", "opened");
progress();
if ("serviceWorker" in navigator && !unable) {
  beginService().catch(() => { /* the page works without it */ });
  goOn();
}

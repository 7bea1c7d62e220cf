// A lesson in the page: cells to run, edit and reset; what is typed is kept in this browser.

const cells = [...document.querySelectorAll("section.cell")];
const bar = document.querySelector("#state");
const store = (() => { try { localStorage.setItem("minilora", "1"); return localStorage; } catch { return null; } })();
const key = (cell) => `minilora/${document.body.dataset.lesson}/${cell.dataset.n}`;
const say = (text) => { bar.textContent = text; };
let worker = null, ready = false, queue = [], current = null; // cells that wait, and the one that runs

function code(cell) { return cell.querySelector("textarea").value; }
function fit(area) { area.style.height = "auto"; area.style.height = area.scrollHeight + 2 + "px"; }

function begin() {
  if (worker) return;
  if (typeof WebAssembly !== "object") return say("This browser has no WebAssembly, so cells cannot run here. The outputs below were made on another machine.");
  worker = new Worker(document.body.dataset.worker, { type: "module" });
  worker.onmessage = ({ data }) => receive(data);
  worker.onerror = (event) => failed(event.message || "the files of Python cannot be loaded");
  const here = (path) => new URL(path, location.href).href;
  const { core, archive, figures } = document.body.dataset;
  worker.postMessage({ start: { core: here(core), archive: here(archive), figures } });
}

function idle() { // nothing runs and nothing waits
  for (const cell of [current, ...queue]) cell?.classList.remove("busy");
  queue = []; current = null;
}

function failed(why) {
  worker?.terminate();
  worker = null; ready = false;
  idle();
  say(`Python did not start (${why}). What you typed is kept. Check the connection and press Run again.`);
}

function receive(data) {
  if (data.failed) return failed(data.failed);
  if (data.status) return say(`${data.status} ...`);
  if (data.ready) { ready = true; say(current ? "running" : "ready"); return next(); }
  if (!current) return;
  const out = current.querySelector(".out");
  if (data.text !== undefined) {
    let last = out.lastElementChild;
    if (last?.className !== "out") last = out.appendChild(Object.assign(document.createElement("pre"), { className: "out" }));
    last.textContent += data.text;
  }
  if (data.picture) out.append(Object.assign(new Image(), { src: "data:image/png;base64," + data.picture, alt: data.alt }));
  if (data.done) done(current, out, data.error);
}

function done(cell, out, error) {
  cell.classList.remove("busy");
  current = null;
  if (error) {
    out.append(Object.assign(document.createElement("pre"), { className: "out error", textContent: error }));
    idle(); // the cells behind one that failed are not run
    return say("the cell ended with an error");
  }
  cell.classList.add("ran");
  store?.setItem(key(cell) + "/ran", "1");
  progress();
  say(queue.length ? "running" : "ready");
  next();
}

function next() {
  if (!ready || current || !queue.length) return;
  current = queue.shift();
  current.querySelector(".out").replaceChildren();
  say("running");
  worker.postMessage({ run: code(current) });
}

function run(cell) {
  begin();
  if (!worker || cell.classList.contains("busy")) return;
  cell.classList.add("busy");
  queue.push(cell);
  next();
}

function restart(why) {
  worker?.terminate();
  worker = null; ready = false;
  idle();
  say(`${why}. Python has begun anew: press "Run all above" at the next cell to have its names again.`);
}

function progress() {
  const done = cells.filter((cell) => cell.classList.contains("ran")).length;
  document.querySelector("#progress").textContent = `${done} of ${cells.length} cells run`;
}

for (const cell of cells) {
  const area = cell.querySelector("textarea");
  cell.dataset.source = area.value;
  area.value = store?.getItem(key(cell)) ?? area.value;
  area.addEventListener("input", () => { fit(area); store?.setItem(key(cell), area.value); });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); run(cell); }
    if (event.key === "Escape") area.blur(); // Tab indents, so Escape leaves the cell
    if (event.key === "Tab" && !event.shiftKey) { event.preventDefault(); area.setRangeText("    ", area.selectionStart, area.selectionEnd, "end"); area.dispatchEvent(new Event("input")); }
  });
  const press = (name, act) => cell.querySelector(`[data-do=${name}]`).addEventListener("click", act);
  press("run", () => run(cell));
  press("above", () => { for (const other of cells.slice(0, cells.indexOf(cell) + 1)) run(other); });
  press("reset", () => { area.value = cell.dataset.source; store?.removeItem(key(cell)); fit(area); });
  cell.closest("details")?.addEventListener("toggle", () => fit(area));
  fit(area);
}
document.querySelector("#stop").addEventListener("click", () => restart("stopped"));
document.querySelector("#all").addEventListener("click", () => cells.forEach(run));
document.querySelector("#save").addEventListener("click", () => {
  const kept = Object.fromEntries(Object.entries(store ?? {}).filter(([name]) => name.startsWith("minilora/")));
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([JSON.stringify(kept, null, 1)], { type: "application/json" })), download: "minilora-answers.json" });
  link.click();
});
document.querySelector("#open").addEventListener("change", async ({ target }) => {
  try {
    const kept = JSON.parse(await target.files[0].text());
    const known = Object.entries(kept).filter(([name, value]) => name.startsWith("minilora/") && typeof value === "string");
    if (!known.length) throw new Error("no answers in it");
    known.forEach(([name, value]) => store?.setItem(name, value));
    location.reload();
  } catch (error) { say(`${target.files[0].name} is no file of answers: ${error.message}`); }
});
progress();

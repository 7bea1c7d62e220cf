// The playground: train an adapter on lines of one's own, in the page's Python; ask it, save it, open another one.

import * as kept from "./kept.js";
import { json, loadBase, text } from "./panels/base.js";
import { chart } from "./panels/chart.js";
import { button, choice, make, slider, spoken, streaming, widthOf } from "./panels/dom.js";
import { adapterOf, CONFIG, readFolder, TENSORS } from "./panels/folder.js";
import { readLines } from "./panels/lines.js";
import { asPython, Python } from "./panels/python.js";
import { answer, Turns } from "./panels/talk.js";
import { writeZip } from "./panels/zip.js";

const EVERY = 5; // steps after which the page asks for the adapter, and answers with it
const stage = document.querySelector("#playground");
const turns = new Turns();
let base, python, files = null, adapter = null, training = false, stopping = false, losses = [];

const keep = (lines) => kept.put("playground", "lines", lines); // what is typed stays in this browser

// ---- the page

const area = make("textarea", { rows: 12, spellcheck: false });
area.addEventListener("input", () => keep(area.value));
const rank = slider("Rank", { min: 0, max: 4, value: 3, shown: (n) => 2 ** n }, () => {});
const steps = choice("Steps", { 10: "10", 30: "30", 60: "60", 120: "120" }, "30", () => {});
const go = button("Train", () => (training ? stop() : train())), status = spoken("said status");
const curve = make("div", { className: "picture" });
const question = make("input", { type: "text", value: "Where does Bess Moss live?", spellcheck: false, autocomplete: "off" });
const rows = make("div"), used = spoken();
const save = button("Save the adapter", download);
const open = make("input", { type: "file", multiple: true, accept: ".zip,.json,.safetensors" });

function build(lines) {
  area.value = kept.get("playground", "lines") ?? lines;
  const form = make("form", { className: "controls" }, make("label", { className: "wide" }, make("span", {}, "Your question"), question), make("button", {}, "Ask"));
  form.addEventListener("submit", (event) => { event.preventDefault(); compare(); });
  open.addEventListener("change", openFiles);
  save.disabled = true;
  stage.replaceChildren(
    part("1. Your lines", make("label", {}, make("span", {}, "question => answer, one on each line"), area),
      make("p", {}, button("The lines of the example", () => { area.value = lines; keep(lines); }))),
    part("2. Train", make("div", { className: "controls" }, rank, steps, go), status, curve),
    part("3. Compare", form, rows, used),
    part("4. Keep it, or open one", make("div", { className: "controls" }, save,
      make("label", {}, make("span", {}, "Open an adapter: its two files, or a ZIP archive of them"), open))));
}

const part = (title, ...children) => make("section", { className: "panel" }, make("h2", {}, title), ...children);

async function begin() {
  try {
    const [found, { lines }] = await Promise.all([loadBase(), json("questions.json")]);
    base = found;
    build(lines);
    stage.dataset.ready = "yes";
    await compare();
  } catch (error) { stage.textContent = error.message; }
}

// ---- training

async function train() {
  if (typeof WebAssembly !== "object") return say("This browser has no WebAssembly, so Python cannot train here. You can still open an adapter.");
  try {
    const lines = readLines(area.value, base.tokenizer), total = Number(steps.select.value);
    training = true; stopping = false; losses = [];
    go.textContent = "Stop";
    python ??= await startPython();
    await python.run(`begin(${asPython({ lines, rank: 2 ** rank.input.value, steps: total })})`);
    await untilDone(total, lines);
  } catch (error) {
    say(error.message);
    if (/does not run here/.test(error.message)) { python?.end(); python = null; } // the next press starts another one
  }
  training = false;
  go.textContent = "Train";
}

async function startPython() { // -> Python that knows playground.py
  const code = await text("../playground.py"), started = new Python(document.body.dataset, (what) => say(`${what} ...`));
  try { await started.run(code); } catch (error) { started.end(); throw error; }
  return started;
}

async function untilDone(total, lines) {
  const began = performance.now();
  for (let step = 0; step < total && !stopping;) {
    const found = await python.run("go(1)");
    step = found.step;
    losses.push([step, found.loss]);
    draw(total);
    const each = (performance.now() - began) / step / 1000;
    say(`Step ${step} of ${total}: loss ${found.loss.toFixed(3)}, ${each.toFixed(1)} seconds a step.`);
    if (step % EVERY === 0 || step === total || stopping) await takeFiles(step, lines);
  }
  if (!losses.length) return say("Stopped before the first step.");
  say(`${stopping ? "Stopped" : "Done"} after ${losses.length} steps: loss ${losses.at(-1)[1].toFixed(3)}. The adapter is on.`);
}

async function takeFiles(step, lines) {
  use((await python.run("give_files()")).files, `your adapter after ${step} steps`);
  compare(lines.slice(0, 3).map(([text]) => text)); // not awaited: the training goes on meanwhile
}

function stop() { stopping = true; say("Stopping after this step ..."); }
function say(text) { status.textContent = text; }

function draw(total) {
  const most = Math.max(...losses.map(([, loss]) => loss), 1);
  curve.replaceChildren(chart({ width: widthOf(curve),
    x: { from: 0, to: total, ticks: [0, total / 2, total], label: "step" }, y: { from: 0, to: Math.ceil(most), ticks: [0, Math.ceil(most)], label: "loss" },
    told: `The loss fell from ${losses[0][1].toFixed(2)} to ${losses.at(-1)[1].toFixed(2)} in ${losses.length} steps.`,
    lines: [{ points: losses, colour: "--dw" }],
  }));
}

// ---- comparing

let watched = [];

async function compare(more = watched) {
  watched = more;
  const turn = turns.next(), asked = [...new Set([question.value, ...watched])].map(row);
  rows.replaceChildren(...asked.map(({ element }) => element));
  used.textContent = adapter ? `On: ${adapter.name}.` : "No adapter yet: train one, or open one.";
  try {
    for (const { text, off, on } of asked) {
      await stream(off, text, [], turn);
      if (adapter) await stream(on, text, [adapter], turn);
    }
  } catch (error) { used.textContent = error.message; }
}

function row(text) {
  const off = spoken("answer"), on = spoken("answer"), side = (kind, title, said) => make("div", { className: `side ${kind}` }, make("h3", {}, title), said);
  const pair = make("div", { className: "pair" }, side("base", "Base", off), side("adapted", "With the adapter", on));
  return { text, off, on, element: make("div", { className: "row" }, make("p", { className: "asked" }, text), pair) };
}

async function stream(cell, text, adapters, turn) {
  if (turn.over) return;
  streaming(cell, true);
  await answer(base, text, { adapters, turn, most: 48, each: (said) => { cell.textContent = said.split("\n")[0]; } });
  streaming(cell, false);
}

// ---- files

function use(found, name) {
  adapter = { ...adapterOf(found, base.model), name };
  files = found;
  save.disabled = false;
}

function download() {
  const inside = Object.fromEntries([CONFIG, TENSORS].map((name) => [`my-adapter/${name}`, files[name]]));
  const address = URL.createObjectURL(new Blob([writeZip(inside)], { type: "application/zip" }));
  make("a", { href: address, download: "my-adapter.zip" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

async function openFiles() {
  const names = [...open.files].map((file) => file.name).join(" and ");
  try {
    use(await readFolder(open.files), names);
    await compare();
  } catch (error) { used.textContent = `${error.message} ${adapter ? `Still on: ${adapter.name}.` : ""}`; }
  open.value = "";
}

begin();

// Lesson 10: adapters merged into W and taken out again by subtracting, in numbers of three kinds: the drift of W.

import { loadAdapter, loadBase } from "./base.js";
import { chart } from "./chart.js";
import { button, choice, make, spoken, widthOf } from "./dom.js";
import { dense } from "./lora.js";
import { power, ROUND } from "./numbers.js";
import { pause, Turns } from "./talk.js";

const PATH = "model.layers.1.self_attn.q_proj", MOST = 1000;
const LINES = { float32: { colour: "--base" }, float16: { colour: "--good", dashed: true }, bfloat16: { colour: "--dw" } };

// W + ΔW - ΔW, rounded each time. `drift` after each swap:   |W now - W at the start| / |ΔW|
export class Swapped {
  constructor(W, updates, round) {
    this.round = round;
    this.start = Float32Array.from(W, round);
    this.now = this.start.slice();
    this.updates = updates.map((update) => Float32Array.from(update, round));
    this.size = length(updates[0]);
    this.drift = [];
  }

  swap() {
    const update = this.updates[this.drift.length % this.updates.length], { now, round } = this;
    for (let i = 0; i < now.length; i++) now[i] = round(round(now[i] + update[i]) - update[i]); // merge, then the naive unmerge
    this.drift.push(length(now.map((value, i) => value - this.start[i])) / this.size);
  }
}

const length = (numbers) => Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));

export async function mount(stage) {
  const [base, ...adapters] = await Promise.all([loadBase(), loadAdapter("style-json"), loadAdapter("style-crier")]);
  const W = base.model.weight(PATH).data, updates = adapters.map(({ parts, scale }) => dense(parts[PATH], scale));
  const turns = new Turns(), picture = make("div", { className: "picture" }), said = spoken();
  let swapped, number = "2";
  const more = (times) => button(times === 1 ? "Swap once" : `Swap ${times} times`, () => swap(times));
  stage.replaceChildren(make("div", { className: "controls" },
    choice("Adapters", { 1: "one, again and again", 2: "two in turn" }, number, (value) => { number = value; begin(); }),
    more(1), more(10), more(100), more(1000), button("Begin anew", begin)), picture, said);
  begin();

  function begin() {
    turns.next();
    swapped = Object.fromEntries(Object.keys(LINES).map((kind) => [kind, new Swapped(W, updates.slice(0, Number(number)), ROUND[kind])]));
    show();
  }

  async function swap(times) {
    const turn = turns.next();
    for (let n = 0, began = performance.now(); n < times && swapped.float32.drift.length < MOST; n++) {
      for (const one of Object.values(swapped)) one.swap();
      if (performance.now() - began < 30) continue;
      show();
      await pause();
      if (turn.over) return;
      began = performance.now();
    }
    show();
  }

  function show() {
    const swaps = swapped.float32.drift.length, last = (kind) => (swapped[kind].drift.at(-1) ?? 0).toExponential(1);
    const told = swaps ? `After ${swaps} swaps W has moved by ${Object.keys(LINES).map((kind) => `${last(kind)} of one ΔW in ${kind}`).join(", ")}.` : "Nothing has been swapped yet.";
    said.textContent = told + (swaps === MOST ? " The picture ends here: begin anew." : "");
    picture.replaceChildren(chart({ width: widthOf(picture),
      x: { from: 1, to: MOST, log: true, ticks: [1, 10, 100, 1000], label: "swaps" },
      y: { from: 1e-8, to: 1, log: true, ticks: [1e-8, 1e-6, 1e-4, 1e-2, 1], shown: (v) => power(10, Math.round(Math.log10(v))), label: "drift, of one ΔW" }, told,
      lines: Object.entries(LINES).map(([kind, line]) => ({ ...line, points: swapped[kind].drift.map((d, i) => [i + 1, d]), label: kind, at: swaps ? [1, swapped[kind].drift[0]] : undefined })),
    }));
  }
}

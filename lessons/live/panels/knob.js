// Lesson 11: one knob between two adapters:   ΔW = a ΔW of the JSON adapter + (1 - a) ΔW of the crier's

import { json, loadAdapter, loadBase } from "./base.js";
import { chart } from "./chart.js";
import { make, slider, spoken, widthOf } from "./dom.js";
import { answerList } from "./list.js";
import { answer, Turns } from "./talk.js";

const PLACES = Array.from({ length: 11 }, (_, i) => i / 10), STYLES = ["style-json", "style-crier"];

export async function mount(stage) {
  const [base, first, second, { style: all }] = await Promise.all([loadBase(), ...STYLES.map(loadAdapter), json("questions.json")]);
  const style = all.slice(0, 8); // a few of the test split, so that a whole curve takes seconds
  const turns = new Turns(), examples = style.slice(0, 4), said = spoken(), list = answerList(examples, said);
  const picture = make("div", { className: "picture" }), shares = new Map(); // place of the knob -> {style: share}
  const at = (a) => [{ ...first, scale: a * first.scale }, { ...second, scale: (1 - a) * second.scale }];
  let a = 0.5;
  const knob = slider("The knob: the crier's adapter at 0, the JSON adapter at 1", { min: 0, max: 1, step: 0.05, value: a, shown: (v) => v.toFixed(2) }, (value) => { a = value; show(); });
  stage.replaceChildren(make("div", { className: "controls" }, knob), list.element, said, picture);
  await show();

  async function show() {
    draw();
    const turn = turns.next(), right = await list.run(base, at(a), turn);
    if (!right) return;
    said.textContent = `At ${a.toFixed(2)}: of ${examples.length} answers ${right["style-json"]} in JSON and ${right["style-crier"]} as the crier.`;
    await measure(turn); // while nobody moves the knob
  }

  async function measure(turn) {
    for (const place of PLACES) {
      if (shares.has(place)) continue;
      const right = { "style-json": 0, "style-crier": 0 };
      for (const { prompt, wanted } of style) {
        const text = await answer(base, prompt, { adapters: at(place), turn });
        if (text === null) return;
        for (const name of STYLES) right[name] += wanted[name] === text;
      }
      shares.set(place, right);
      draw();
    }
  }

  function draw() {
    const known = PLACES.filter((place) => shares.has(place)), points = (name) => known.map((place) => [place, shares.get(place)[name] / style.length]);
    const told = known.map((p) => `${p}: ${shares.get(p)["style-json"]} in JSON, ${shares.get(p)["style-crier"]} as the crier`).join("; ");
    picture.replaceChildren(chart({ width: widthOf(picture),
      x: { from: 0, to: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], label: "the knob" }, y: { from: 0, to: 1, ticks: [0, 0.5, 1], label: "share as wanted" },
      told: `Of ${style.length} questions, at each place of the knob: ${told || "being measured"}.`,
      lines: [{ points: points("style-json"), colour: "--base", marks: true, label: "JSON", at: [1, 0.85], anchor: "end" },
        { points: points("style-crier"), colour: "--dw", marks: true, dashed: true, label: "crier", at: [0, 0.85] },
        { points: [[a, 0], [a, 1]], colour: "--soft", dashed: true }],
    }));
  }
}

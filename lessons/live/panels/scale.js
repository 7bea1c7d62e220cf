// Lesson 7: α and r on a real adapter: the scale that they make, and the answers that it makes.

import { json, loadAdapter, loadBase } from "./base.js";
import { chart } from "./chart.js";
import { choice, make, slider, spoken, widthOf } from "./dom.js";
import { answerList } from "./list.js";
import { firstRows, scaling } from "./lora.js";
import { Turns } from "./talk.js";

const RANKS = [1, 2, 4, 8], RULES = { plain: "α / r (LoRA)", root: "α / √r (rsLoRA)" };

export async function mount(stage) {
  const [base, whole, { style }] = await Promise.all([loadBase(), loadAdapter("directions"), json("questions.json")]);
  const turns = new Turns(), now = { alpha: 8, r: 8, rule: "plain" }, examples = style.slice(0, 4);
  const said = spoken(), list = answerList(examples, said), picture = make("div", { className: "picture" });
  const set = (key) => (value) => { now[key] = value; show(); };
  stage.replaceChildren(make("div", { className: "controls" },
    slider("α", { min: 0, max: 64, value: now.alpha }, set("alpha")),
    slider("r, the best of its 8 directions", { min: 0, max: 3, value: 3, shown: (n) => RANKS[n] }, (n) => set("r")(RANKS[n])),
    choice("Rule", RULES, now.rule, set("rule"))), picture, list.element, said);
  await show();

  async function show() {
    const s = scaling(now.alpha, now.r, now.rule === "root"), turn = turns.next();
    picture.replaceChildren(drawing(now, s, widthOf(picture)));
    const right = await list.run(base, [{ ...firstRows(whole, now.r), scale: s }], turn);
    if (right) said.textContent = `Scale ${s.toPrecision(3)} (it was trained with 1): ${right["style-json"]} of ${examples.length} answers as wanted.`;
  }
}

function drawing({ alpha, r, rule }, s, width) {
  const curve = (root) => RANKS.flatMap((rank, i) => [rank, ...(i < 3 ? [rank * 1.4] : [])]).map((rank) => [rank, scaling(alpha, rank, root)]);
  const most = Math.max(alpha, 2), step = most > 16 ? 16 : most > 4 ? 4 : 1, ticks = [];
  for (let tick = 0; tick <= most; tick += step) ticks.push(tick);
  const own = rule === "root" ? "--b" : "--dw";
  return chart({
    x: { from: 1, to: 8.9, ticks: RANKS, log: true, label: "r" }, y: { from: 0, to: most, ticks, label: "scale s" }, width,
    told: `With α ${alpha} and r ${r} the scale is ${s.toPrecision(3)}.`,
    lines: [{ points: curve(false), colour: "--dw", label: "α / r", at: [1.5, scaling(alpha, 1.5) * 0.55] },
      { points: curve(true), colour: "--b", dashed: true, label: "α / √r", at: [4, scaling(alpha, 4, true)] },
      { points: [[1, 1], [8.9, 1]], colour: "--soft", dashed: true, label: "as trained: 1", at: [1, 1] },
      { points: [[r, s]], colour: own, marks: true, label: `s = ${s.toPrecision(3)}`, at: [r, s + most / 12], anchor: r > 4 ? "end" : "start" }],
  });
}

// Lesson 8: a model, a rank and a card: what a training needs, part by part, and whether it fits.

import { json } from "./base.js";
import { count, METHODS, peak, TARGETS, verdict } from "./counting.js";
import { choice, make, slider, spoken, svg, widthOf } from "./dom.js";

const GIB = 2 ** 30, ROW = 58;
const GROUPS = [["frozen", "--w"], ["trained", "--dw"], ["activations", "--good"]];
const WORDS = { fits: "fits", tight: "fits, but it is tight", no: "does not fit" };

export async function mount(stage) {
  const { models, cards } = await json("models.json"), names = Object.fromEntries(Object.keys(models).map((name) => [name, name]));
  const chosen = { model: "llama-3-8b", rank: 16, targets: "q_proj,v_proj", batch: 1, length: 512, card: 24 };
  const set = (key) => (value) => { chosen[key] = value; show(); };
  const power = (value) => 2 ** value;
  const picture = make("div", { className: "picture" }), said = spoken();
  stage.replaceChildren(make("div", { className: "controls" },
    choice("Model", names, chosen.model, set("model")),
    choice("Adapter beside", Object.fromEntries(Object.keys(TARGETS).map((t) => [t, t.replaceAll("_proj", "").replaceAll(",", ", ")])), chosen.targets, set("targets")),
    choice("Card", Object.fromEntries(cards.map(([gb]) => [gb, `${gb} GB`])), String(chosen.card), (value) => set("card")(Number(value))),
    slider("Rank", { min: 0, max: 8, value: 4, shown: power }, (value) => set("rank")(power(value))),
    slider("Sequences in a batch", { min: 0, max: 6, value: 0, shown: power }, (value) => set("batch")(power(value))),
    slider("Tokens of each", { min: 7, max: 13, value: 9, shown: (v) => power(v).toLocaleString("en") }, (value) => set("length")(power(value)))),
    picture, said);
  show();

  function show() {
    const model = models[chosen.model], gib = cards.find(([gb]) => gb === chosen.card)[1];
    const rows = METHODS.map((method) => ({ method, ...peak(model, method, chosen) })).map((row) => ({ ...row, verdict: verdict(row.bytes, gib) }));
    const { base, trainable } = count(model, chosen);
    const told = rows.map((row) => `${row.method}: ${gigabytes(row.bytes)} GB, ${WORDS[row.verdict]}`).join("; ");
    picture.replaceChildren(bars(rows, gib, widthOf(picture), `On a card of ${chosen.card} GB: ${told}.`));
    said.textContent = `LoRA trains ${trainable.toLocaleString("en")} numbers beside ${base.toLocaleString("en")}: `
      + `${((100 * trainable) / (base + trainable)).toPrecision(3)} percent. On ${chosen.card} GB: ${told}.`;
  }
}

const gigabytes = (bytes) => (bytes / GIB).toFixed(bytes < 10 * GIB ? 1 : 0);

function bars(rows, gib, width, told) {
  const most = Math.max(gib * 1.15, ...rows.map((row) => row.bytes / GIB)) * 1.02, wide = (value) => (value / most) * width;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${rows.length * ROW + 54}`, role: "img", "aria-label": told });
  const card = wide(gib), low = rows.length * ROW;
  picture.append(svg("line", { x1: card, x2: card, y1: 2, y2: low, class: "card", "stroke-dasharray": "5 4" }),
    svg("text", { x: Math.min(Math.max(card, 60), width - 60), y: low + 16, "text-anchor": "middle" }, `the card: ${gib} GB`));
  rows.forEach((row, i) => {
    let x = 0;
    for (const [name, colour] of GROUPS) {
      picture.append(svg("rect", { x, y: i * ROW + 23, width: wide(row[name] / GIB), height: 22, style: `fill: var(${colour})` }));
      x += wide(row[name] / GIB);
    }
    picture.append(svg("text", { x: 0, y: i * ROW + 16 }, `${row.method}: ${gigabytes(row.bytes)} GB, ${WORDS[row.verdict]}`));
  });
  GROUPS.forEach(([name, colour], i) => picture.append(
    svg("rect", { x: i * 105, y: low + 31, width: 14, height: 14, style: `fill: var(${colour})` }),
    svg("text", { x: i * 105 + 20, y: low + 44 }, name)));
  return picture;
}

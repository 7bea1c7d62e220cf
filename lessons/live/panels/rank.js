// Lesson 5: the real ΔW of a full fine-tuning, cut down to its best r directions: picture, energy, and answers.

import { json, loadBase, tensors } from "./base.js";
import { chart } from "./chart.js";
import { choice, make, slider, spoken, widthOf } from "./dom.js";
import { answerList } from "./list.js";
import { dense, firstRows, loraOf } from "./lora.js";
import { heatMap } from "./map.js";
import { Turns } from "./talk.js";

const FIRST = "model.layers.1.self_attn.v_proj";

export async function mount(stage) {
  const [base, stored, { sql }] = await Promise.all([loadBase(), tensors("update.safetensors"), json("questions.json")]);
  const { update, sigmas } = taken(stored, base.model), turns = new Turns(), paths = Object.keys(update.parts);
  let r = 8, path = FIRST;
  const said = spoken(), told = spoken(), list = answerList(sql, said, 48);
  const map = make("div", { className: "map" }), energy = make("div", { className: "picture" });
  const rank = slider("Rank", { min: 0, max: update.parts[FIRST].rows, value: r }, (value) => { r = value; show(); });
  const matrix = choice("Matrix in the picture", Object.fromEntries(paths.map((p) => [p, shortened(p)])), path, (value) => { path = value; draw(); });
  stage.replaceChildren(make("div", { className: "controls" }, rank, matrix),
    make("div", { className: "pair" }, map, energy), told, make("h3", {}, "The model with the best part of this rank, of all 28 matrices"), list.element, said);
  await show();

  async function show() {
    draw();
    const turn = turns.next(), right = await list.run(base, [firstRows(update, r)], turn);
    if (right) said.textContent = `Rank ${r}: ${right.sql} of ${sql.length} queries as wanted.`;
  }

  function draw() {
    const { shape: [out, n_in] } = base.model.weight(path), squares = [...sigmas[path]].map((s) => s * s);
    const total = squares.reduce((a, b) => a + b), shares = [0];
    for (const square of squares) shares.push(shares.at(-1) + square / total);
    const words = `${r} of ${squares.length} directions hold ${(100 * shares[r]).toFixed(0)} percent of the energy of ΔW of ${shortened(path)}`;
    map.replaceChildren(heatMap(dense({ ...update.parts[path], r }), out, n_in, `The best part of rank ${r} of ΔW, ${out} by ${n_in}: red is above zero, blue below.`));
    energy.replaceChildren(chart({ width: widthOf(energy),
      x: { from: 0, to: squares.length, ticks: [0, 32, 64, 96, 128].filter((t) => t <= squares.length), label: "number of directions" },
      y: { from: 0, to: 1, ticks: [0, 0.5, 0.9, 1], label: "share of the energy" }, told: `${words}.`,
      lines: [{ points: shares.map((share, k) => [k, share]), colour: "--dw" },
        { points: [[r, shares[r]]], colour: "--ink", marks: true, label: `rank ${r}: ${(100 * shares[r]).toFixed(0)}%` }],
    }));
    told.textContent = `${words}.`;
  }
}

const shortened = (path) => path.replace("model.layers.", "layer ").replace(/\.(self_attn|mlp)\./, ", ");

// The file has, for each matrix, its best directions as a LoRA, and all its singular values.
function taken(stored, model) {
  const sigmas = {}, lora = {};
  for (const [name, tensor] of Object.entries(stored)) {
    if (name.endsWith(".sigma")) sigmas[name.slice(0, -".sigma".length)] = tensor.data;
    else lora[name] = tensor;
  }
  return { update: loraOf({ peft_type: "LORA", r: 1, lora_alpha: 1 }, lora, model), sigmas };
}

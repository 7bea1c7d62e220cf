// Lesson 0: one question, answered by the base and by the base with an adapter, side by side.

import { loadAdapter, loadBase } from "./base.js";
import { button, choice, make, spoken, streaming } from "./dom.js";
import { answer, Turns } from "./talk.js";

const STYLES = { "style-json": "JSON", "style-crier": "the town crier" };
const QUESTIONS = ["Where does Bess Moss live?", "What does Polly Pike do?", "What pet does Hattie Sedge have?"];

export async function mount(stage) {
  const turns = new Turns();
  const question = make("input", { type: "text", value: QUESTIONS[0], spellcheck: false, autocomplete: "off" });
  const style = choice("Adapter", STYLES, "style-json", ask);
  const form = make("form", { className: "controls" },
    make("label", { className: "wide" }, make("span", {}, "Your question"), question), style, make("button", {}, "Ask"));
  const examples = make("p", { className: "controls" }, ...QUESTIONS.map((text) => button(text, () => { question.value = text; ask(); })));
  const off = side("Adapter off", "base"), on = side("Adapter on", "adapted"), status = spoken();
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  stage.replaceChildren(form, examples, make("div", { className: "pair" }, off.box, on.box), status);
  await ask();

  async function ask() {
    const turn = turns.next();
    status.textContent = "";
    try {
      const [base, adapter] = await Promise.all([loadBase(), loadAdapter(style.select.value)]);
      const began = performance.now();
      const answers = await Promise.all([stream(off, base, [], turn), stream(on, base, [adapter], turn)]);
      if (turn.over) return;
      const tokens = answers.reduce((sum, text) => sum + base.tokenizer.encode(text).length, 0);
      status.textContent = `${tokens} tokens in ${((performance.now() - began) / 1000).toFixed(1)} seconds, in this page.`;
    } catch (error) { status.textContent = error.message; }
  }

  // The base goes on after its answer: only the first line is shown.
  async function stream({ text }, base, adapters, turn) {
    streaming(text, true);
    const show = (said) => { text.textContent = said.split("\n")[0]; };
    const said = await answer(base, question.value, { adapters, each: show, turn });
    if (said !== null) streaming(text, false);
    return said ?? "";
  }
}

function side(title, kind) {
  const text = spoken("answer");
  return { text, box: make("div", { className: `side ${kind}` }, make("h3", {}, title), text) };
}

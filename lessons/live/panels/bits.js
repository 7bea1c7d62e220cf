// Lesson 10: the bits of a weight, to click.

import { button, choice, make, spoken } from "./dom.js";
import { bitsOf, KINDS, power, ROUND, valueOf } from "./numbers.js";
import { loadBase } from "./base.js";

const PATH = "model.layers.1.self_attn.q_proj";

export function mount(stage) {
  let kind = "bfloat16", bits = bitsOf(Math.PI, kind), wanted = Math.PI, place = 0;
  const row = make("div", { className: "bits", role: "group" }), said = spoken("sum"), fault = spoken();
  row.setAttribute("aria-label", "the bits, from the sign on");
  const input = make("input", { type: "text", inputMode: "decimal", value: "3.14159274", spellcheck: false });
  input.addEventListener("change", () => typed(input.value));
  stage.replaceChildren(make("div", { className: "controls" },
    choice("Kind of number", Object.fromEntries(Object.keys(KINDS).map((k) => [k, k])), kind, (value) => { kind = value; set(wanted); }),
    make("label", {}, make("span", {}, "A number"), input),
    button("A weight of the base", weight), button("Next larger", () => step(1)), button("Next smaller", () => step(-1))), row, said, fault);
  build();

  function typed(text) {
    const value = Number(text.replace(",", "."));
    if (!text.trim() || Number.isNaN(value)) { fault.textContent = `${text.slice(0, 20) || "Nothing"} is no number; expected one such as 0.1 or -2e-5.`; return; }
    set(value);
  }

  function set(value) { fault.textContent = ""; wanted = value; bits = bitsOf(ROUND[kind](value), kind); build(); }

  function step(by) { // the bits of the next number, away from zero, are the next whole number
    const value = valueOf(bits, kind), minus = 2 ** (KINDS[kind].exponent + KINDS[kind].fraction);
    if (!Number.isFinite(value)) return;
    bits = value === 0 ? (by > 0 ? 1 : minus + 1) : bits + (value < 0 ? -by : by);
    kept();
  }

  function kept() { wanted = valueOf(bits, kind); build(); }

  async function weight() {
    try {
      const { data } = (await loadBase()).model.weight(PATH);
      place = (place + 8191) % data.length;
      set(data[place]);
    } catch (error) { fault.textContent = error.message; }
  }

  function build() {
    const { exponent, fraction } = KINDS[kind], buttons = () => [...row.querySelectorAll("button")], held = buttons().indexOf(document.activeElement);
    row.replaceChildren(group("sign", 1, exponent + fraction), group("exponent", exponent, fraction), group("fraction", fraction, 0));
    buttons()[held]?.focus(); // the bit that was pressed has been made anew
    const value = valueOf(bits, kind);
    if (document.activeElement !== input) input.value = String(value);
    said.textContent = described(bits, kind, value) + (!Object.is(value, wanted) && Number.isFinite(value) ? ` Rounded from ${Math.fround(wanted)}: ${((100 * Math.abs(value - wanted)) / Math.abs(wanted)).toPrecision(2)} percent off.` : "");
  }

  function group(part, count, lowest) { // from the highest bit down
    return make("span", {}, ...Array.from({ length: count }, (_, i) => bit(lowest + count - 1 - i, part)));
  }

  function bit(place, part) {
    const set = (bits >>> place) & 1, element = button(String(set), () => { bits = (bits ^ (1 << place)) >>> 0; kept(); });
    element.className = part;
    element.setAttribute("aria-pressed", set === 1);
    element.setAttribute("aria-label", `${part}, bit ${place}`);
    return element;
  }
}

// "3.140625 = + 2¹ × 1.5703125. The next number is 2⁻⁶ = 0.0156 away."
export function described(bits, kind, value) {
  const { exponent, fraction } = KINDS[kind], e = (bits >>> fraction) & (2 ** exponent - 1), sign = Object.is(Math.sign(value), -1) || Object.is(value, -0) ? "−" : "+";
  if (!Number.isFinite(value)) return `${value}: all bits of the exponent are 1.`;
  const p = Math.max(e, 1) - (2 ** (exponent - 1) - 1), digits = (bits & (2 ** fraction - 1)) / 2 ** fraction + (e > 0);
  return `${value} = ${sign} ${power(2, p)} × ${digits}. The next number is ${power(2, p - fraction)} = ${(2 ** (p - fraction)).toPrecision(3)} away.`;
}

// A few questions with the answers that the model gives now, each marked where it is as wanted.

import { make, streaming } from "./dom.js";
import { answer } from "./talk.js";

// examples: [{prompt, wanted: {name: text}}]    said: the element that tells how many are as wanted
export function answerList(examples, said, most = 32) {
  const rows = examples.map(({ prompt }) => ({ mark: make("span", { className: "mark" }), text: make("span", { className: "answer" }), prompt }));
  const element = make("ol", { className: "answers" }, ...rows.map(({ prompt, mark, text }) => make("li", {}, make("span", { className: "asked" }, prompt), make("br"), mark, text)));
  return { element, run };

  // Answers all of them, unless `turn` ends before. -> {name: how many are as wanted}
  async function run(base, adapters, turn) {
    const right = Object.fromEntries(Object.keys(examples[0].wanted).map((name) => [name, 0]));
    streaming(said, true);
    for (const [i, { prompt, wanted }] of examples.entries()) {
      const { mark, text } = rows[i], each = (now) => { text.textContent = now.split("\n")[0]; };
      mark.textContent = "… ";
      const whole = await answer(base, prompt, { adapters, each, turn, most });
      if (whole === null) return null;
      const style = Object.keys(wanted).find((name) => wanted[name] === whole);
      if (style !== undefined) right[style]++;
      mark.textContent = style === undefined ? "✗ " : "✓ ";
      mark.className = `mark ${style === undefined ? "wrong" : "right"}`;
      mark.setAttribute("aria-label", style === undefined ? "not as wanted:" : "as wanted:");
    }
    streaming(said, false);
    return right;
  }
}

// The lines of the playground: "question => answer", one on each.

export const MOST_LINES = 60, MOST_TOKENS = 96; // of a question with its answer: a longer one makes every step slow

// -> [[question, answer]]. Throws an Error with one sentence that names the line at fault.
export function readLines(text, tokenizer) {
  const rows = text.split("\n").map((line, i) => [i + 1, line.trim()]).filter(([, line]) => line);
  if (!rows.length) throw new Error("There is no line to learn from: write a question, then =>, then the answer.");
  if (rows.length > MOST_LINES) throw new Error(`There are ${rows.length} lines; the playground takes at most ${MOST_LINES}.`);
  return rows.map(([number, line]) => {
    const at = line.indexOf("=>"), question = line.slice(0, at).trim(), answer = line.slice(at + 2).trim();
    if (at < 0) throw new Error(`Line ${number} has no =>: write the question, then =>, then the answer.`);
    if (!question || !answer) throw new Error(`Line ${number} has no ${question ? "answer behind" : "question in front of"} its =>.`);
    const tokens = tokenizer.encode(`${question}\n${answer}`).length;
    if (tokens > MOST_TOKENS) throw new Error(`Line ${number} has ${tokens} tokens; the playground takes at most ${MOST_TOKENS} in a line.`);
    return [question, answer];
  });
}

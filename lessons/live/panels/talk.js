// Ask the base a question in the page, so that the page never waits: after a few tokens others may work.

export const pause = () => new Promise((go) => setTimeout(go));

// The framed prompt, as every model of the course was trained: the question and a line break.
export const framed = (question, tokenizer) => tokenizer.encode(question.trimEnd() + "\n");

// Tokens of the answer one by one: each(text so far) after every token. Returns the text, or null where `turn` was over.
// adapters: those that are active. Throws an Error with one sentence for a question that is empty or too long.
export async function answer({ model, tokenizer }, question, { adapters = [], most = 32, each = () => {}, turn = new Turn() } = {}) {
  if (!question.trim()) throw new Error("Type a question first.");
  const prompt = framed(question, tokenizer), room = model.config.max_position_embeddings - most;
  if (prompt.length > room) throw new Error(`The question has ${prompt.length} tokens; the base reads at most ${room}.`);
  const ids = [];
  let began = performance.now();
  for (const id of model.generate(prompt, most, adapters)) {
    ids.push(id);
    each(tokenizer.decode(ids));
    if (performance.now() - began < 12) continue; // milliseconds: a browser draws every 16
    await pause();
    if (turn.over) return null;
    began = performance.now();
  }
  return tokenizer.decode(ids).trim();
}

// A run that a newer one ends: `const turn = turns.next()` ends the one before.
export class Turn { over = false; }
export class Turns {
  next() {
    if (this.now) this.now.over = true;
    return (this.now = new Turn());
  }
}

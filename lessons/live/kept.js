// What is kept in this browser: typed cells, cells that ran, answers to exercises, predictions. And the file of all that.
// Keys: minilora/cells/LESSON/CELL, minilora/ran/LESSON/CELL, minilora/files/lesson_06.py, minilora/states/6.1,
// minilora/predictions/QUESTION. Every value is a text.

const LARGEST = 20 * 2 ** 20; // bytes of a file of answers
const KINDS = ["cells", "ran", "files", "states", "predictions"];

let storage = null; // null where the browser keeps nothing: then a page forgets when it is closed
try { storage = localStorage; storage.setItem("minilora/test", "1"); storage.removeItem("minilora/test"); } catch { storage = null; }

export const get = (kind, name) => storage?.getItem(`minilora/${kind}/${name}`) ?? null;
export const remove = (kind, name) => storage?.removeItem(`minilora/${kind}/${name}`);

export function put(kind, name, text) { // -> was there room?
  try { storage.setItem(`minilora/${kind}/${name}`, text); return true; } catch { return false; }
}

export function all(kind) { // -> {name: text}
  const start = `minilora/${kind}/`;
  const names = Object.keys(storage ?? {}).filter((key) => key.startsWith(start)).sort();
  return Object.fromEntries(names.map((key) => [key.slice(start.length), storage.getItem(key)]));
}

// What Python knows again when it starts: the answers of earlier lessons.
export const answers = () => JSON.stringify({ states: all("states"), files: all("files") });

export function keepAnswers(text) { // what course/browser.py wrote after a cell -> sentences for the reader
  const { states, files, predictions, notes } = JSON.parse(text);
  const told = Object.entries(predictions).map(([question, told]) => [question, JSON.stringify(told)]);
  const kept = [["states", Object.entries(states)], ["files", Object.entries(files)], ["predictions", told]];
  const fits = kept.flatMap(([kind, entries]) => entries.map(([name, value]) => put(kind, name, value)));
  return fits.every(Boolean) ? notes : [...notes, "This browser has no room for your answers: save them as a file."];
}

// ---- one file of everything

export function asFile() {
  return JSON.stringify({ minilora: 1, ...Object.fromEntries(KINDS.map((kind) => [kind, all(kind)])) }, null, 1);
}

export async function readFile(file) { // -> {cells, ran, ...}; throws an Error with one clear sentence
  const expected = "expected a file that Save answers wrote, such as minilora-answers.json";
  if (file.size > LARGEST) throw new Error(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB: ${expected}`);
  let found;
  try { found = JSON.parse(await file.text()); } catch { throw new Error(`${file.name} is no JSON: ${expected}`); }
  const texts = (group) => group && typeof group === "object" && Object.values(group).every((value) => typeof value === "string");
  if (found?.minilora !== 1 || !KINDS.every((kind) => texts(found[kind]))) throw new Error(`${file.name} has no answers: ${expected}`);
  return found;
}

export const different = (found) => // how many entries here would be replaced by others
  KINDS.flatMap((kind) => Object.entries(found[kind]).filter(([name, text]) => (get(kind, name) ?? text) !== text)).length;

export const takeOver = (found) => // -> was there room for all?
  KINDS.flatMap((kind) => Object.entries(found[kind]).map(([name, text]) => put(kind, name, text))).every(Boolean);

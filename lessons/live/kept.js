// What is kept in this browser: typed cells, cells that ran, answers to exercises, predictions. And the file of all that.
// Keys: minilora/cells/LESSON/CELL, minilora/ran/LESSON/CELL, minilora/files/lesson_06.py, minilora/states/6.1,
// minilora/predictions/QUESTION, minilora/said/opened (until the page has said it). Every value is a text.

const LARGEST = 20 * 2 ** 20; // bytes of a file of answers
const KINDS = ["cells", "ran", "files", "states", "predictions"];

let storage = null; // null where the browser keeps nothing: then a page forgets when it is closed
try { storage = localStorage; storage.setItem("minilora/test", "1"); storage.removeItem("minilora/test"); } catch { storage = null; }

const unkept = new Map(); // what the browser has no room for: the page has it until it is closed, for the file of answers
const keyOf = (kind, name) => `minilora/${kind}/${name}`;
const read = (key) => unkept.get(key) ?? storage?.getItem(key) ?? null;

export const get = (kind, name) => read(keyOf(kind, name));
export function remove(kind, name) { unkept.delete(keyOf(kind, name)); storage?.removeItem(keyOf(kind, name)); }

export function put(kind, name, text) { // -> was there room?
  const key = keyOf(kind, name);
  try { storage.setItem(key, text); unkept.delete(key); return true; } catch { unkept.set(key, text); return false; }
}

export function all(kind) { // -> {name: text}
  const start = keyOf(kind, "");
  const names = [...new Set([...Object.keys(storage ?? {}), ...unkept.keys()])].filter((key) => key.startsWith(start)).sort();
  return Object.fromEntries(names.map((key) => [key.slice(start.length), read(key)]));
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

const entriesOf = (found) => KINDS.flatMap((kind) => Object.entries(found[kind]).map(([name, text]) => [kind, name, text]));

export const different = (found) => // how many entries here would be replaced by others
  entriesOf(found).filter(([kind, name, text]) => (get(kind, name) ?? text) !== text).length;

export function takeOver(found) { // -> was there room for all? If not, everything is as it was
  const entries = entriesOf(found), before = entries.map(([kind, name]) => [kind, name, get(kind, name)]);
  if (entries.every((entry) => put(...entry))) return true;
  for (const [kind, name] of before) remove(kind, name);
  for (const [kind, name, text] of before) if (text !== null) put(kind, name, text);
  return false;
}

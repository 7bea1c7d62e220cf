// Colours for the code of a cell: a copy of the text, coloured, lies under the text that one types into.

const KEYWORDS = "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield";
const TOKENS = new RegExp([
  /(?<c>#[^\n]*)/, /(?<s>[rfbRFB]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))/,
  /(?<=\b(?:def|class)\s+)(?<nf>\w+)/, new RegExp(`\\b(?<k>${KEYWORDS.replaceAll(" ", "|")})\\b`),
].map((part) => part.source).join("|"), "g");

function colored(source) { // -> [[kind, text], ...]; kinds as Pygments names them, "" for the rest
  const pieces = [];
  let at = 0;
  for (const match of source.matchAll(TOKENS)) {
    if (match.index > at) pieces.push(["", source.slice(at, match.index)]);
    const [kind] = Object.entries(match.groups).find(([, text]) => text !== undefined);
    pieces.push([kind, match[0]]);
    at = match.index + match[0].length;
  }
  return at < source.length ? [...pieces, ["", source.slice(at)]] : pieces;
}

function paint(area, under) {
  under.replaceChildren(...colored(area.value).map(([kind, text]) => {
    if (!kind) return text;
    return Object.assign(document.createElement("span"), { className: kind, textContent: text });
  }), "\n"); // a last line break, so that an empty last line has its height
}

function dress(area) {
  const box = document.createElement("div"), under = document.createElement("pre");
  box.className = "editor";
  under.setAttribute("aria-hidden", "true");
  area.replaceWith(box);
  box.append(under, area);
  let shown = null;
  const look = () => { if (area.value !== shown) { shown = area.value; paint(area, under); } };
  area.addEventListener("input", look);
  area.closest("section").addEventListener("click", () => setTimeout(look)); // Reset, Open answers
  look();
}

if (typeof document !== "undefined") for (const area of document.querySelectorAll("section.cell textarea")) dress(area);
else globalThis.colored = colored; // for the tests, in node

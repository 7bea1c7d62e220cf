// What a cell printed and drew, as parts of the page.

// A table: its head, a line of dashes, and the rows, whose columns are two spaces apart. lessons/pages.py has the same pattern.
const TABLE = /^.*\n(?=.*---)[ -]+\n(?:.*\S {2,}\S.*(?:\n|$))*/gm;

// A narrow window breaks the lines of a text, but those of a table stay whole and can be scrolled.
export function keepTables(pre) {
  const text = pre.textContent, parts = [];
  let at = 0;
  for (const match of text.matchAll(TABLE)) {
    parts.push(text.slice(at, match.index), Object.assign(document.createElement("span"), { className: "table", textContent: match[0] }));
    at = match.index + match[0].length;
  }
  pre.replaceChildren(...parts, text.slice(at));
}

// An SVG becomes a part of the page, so that it has the page's letters and colours. A cell may say anything, also the
// cell of another reader: so only what matplotlib draws with stays, and nothing that runs or loads.
const DRAWN = new Set("svg defs g path rect use text tspan clipPath pattern image".split(" "));
const LOADS = /^(?!#|data:image\/png;)/, LOADS_BY_STYLE = /url\((?!["']?#)/;

function fromSvg(source) {
  const drawn = new DOMParser().parseFromString(source, "text/html").body.firstElementChild;
  for (const part of [drawn, ...drawn.querySelectorAll("*")]) {
    if (!DRAWN.has(part.localName)) part.remove();
    for (const { name, value } of [...part.attributes]) {
      const loads = name.endsWith("href") ? LOADS.test(value) : LOADS_BY_STYLE.test(value);
      if (loads || name.startsWith("on")) part.removeAttribute(name);
    }
  }
  return drawn;
}

export function picture(drawn, alt) { // an SVG, or the base64 of a PNG -> an element
  if (drawn.startsWith("<svg")) return fromSvg(drawn);
  return Object.assign(new Image(), { src: "data:image/png;base64," + drawn, alt });
}

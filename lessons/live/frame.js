// The rail beside a page: which heading one is at, and how many cells of each part have run.
// And for the keyboard: what is wider than the window can be focused, so that the arrow keys move it.

const rail = document.querySelector(".rail");

function parts() { // [{item, heading, cells}] in the order of the page
  const found = [...rail.querySelectorAll("li")].map((item) => ({
    item, heading: document.getElementById(decodeURIComponent(item.querySelector("a").hash.slice(1))), cells: [],
  }));
  for (const cell of document.querySelectorAll("section.cell")) {
    const before = found.filter(({ heading }) => heading.compareDocumentPosition(cell) & Node.DOCUMENT_POSITION_FOLLOWING);
    before.at(-1)?.cells.push(cell);
  }
  return found;
}

function showCells({ item, cells }) {
  if (!cells.length) return;
  const ran = cells.filter((cell) => cell.classList.contains("ran")).length;
  const words = item.querySelector("small") ?? item.querySelector("a").appendChild(document.createElement("small"));
  words.textContent = ran ? ` ${ran} of ${cells.length} run` : "";
  item.style.setProperty("--done", ran / cells.length);
}

function showPlace(all) { // the last heading above the upper third of the window
  const passed = all.filter(({ heading }) => heading.getBoundingClientRect().top < innerHeight / 3);
  for (const part of all) {
    const here = part === passed.at(-1);
    part.item.classList.toggle("here", here);
    if (here) part.item.querySelector("a").setAttribute("aria-current", "true");
    else part.item.querySelector("a").removeAttribute("aria-current");
  }
}

function letKeysScroll() {
  for (const part of document.querySelectorAll("main :is(pre, table, .math.block)")) {
    if (part.scrollWidth > part.clientWidth && !part.closest(".editor")) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}
letKeysScroll();
addEventListener("resize", letKeysScroll);
document.querySelector("main").addEventListener("toggle", letKeysScroll, true); // what was folded has its width now

// A word of the glossary shows its sentence at once, for a mouse and for the keyboard; a title would come late, and only for a mouse.
for (const word of document.querySelectorAll("a.word[title]")) {
  word.dataset.said = word.title;
  word.setAttribute("aria-description", word.title);
  word.removeAttribute("title");
}

if (rail) {
  const all = parts(), button = rail.querySelector("button");
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
  });
  addEventListener("scroll", () => showPlace(all), { passive: true });
  const watch = new MutationObserver(() => { all.forEach(showCells); letKeysScroll(); }); // the engine marks a cell that ran with a class
  for (const { cells } of all) for (const cell of cells) watch.observe(cell, { attributeFilter: ["class"] });
  all.forEach(showCells);
  showPlace(all);
}

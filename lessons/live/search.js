// The search of the site: `/` puts the cursor into it, arrows choose, Enter goes there. The index is loaded at the first use.
// It is a script, not JSON that is fetched: so it also works where a page is opened from a folder.

function score(entry, terms) { // 0 when a term is missing; a title counts more than a heading, a heading more than text
  let sum = 0;
  for (const term of terms) {
    const title = entry.title.toLowerCase(), heading = entry.heading.toLowerCase();
    const word = new RegExp(`(^|[^\\p{L}\\p{N}])${term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "u");
    const found = (word.test(heading) ? 50 : heading.includes(term) ? 25 : 0)
      + (word.test(title) ? 20 : title.includes(term) ? 10 : 0)
      + (word.test(entry.text.toLowerCase()) ? 6 : entry.text.toLowerCase().includes(term) ? 2 : 0);
    if (!found) return 0;
    sum += found;
  }
  return sum + entry.weight + (entry.heading.toLowerCase() === terms.join(" ") ? 200 : 0);
}

function find(entries, query, most = 12) { // -> the entries that have every word of the query, best first
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!terms.length) return [];
  return entries.map((entry) => [score(entry, terms), entry]).filter(([points]) => points > 0)
    .sort(([a], [b]) => b - a).slice(0, most).map(([, entry]) => entry);
}

function around(text, query) { // -> [before, found, after]: the place of the first word that the text has
  const low = text.toLowerCase();
  const term = query.toLowerCase().split(/\s+/).filter(Boolean).find((word) => low.includes(word));
  if (!term) return [text.slice(0, 140), "", ""];
  const at = low.indexOf(term), from = Math.max(0, at - 60);
  return [(from ? "… " : "") + text.slice(from, at), text.slice(at, at + term.length), text.slice(at + term.length, at + 100)];
}

function begin(form) {
  const input = form.querySelector("input"), up = form.dataset.up;
  const list = Object.assign(document.createElement("ul"), { id: "results", hidden: true });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "pages found");
  form.append(list);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-controls", "results");
  input.setAttribute("aria-expanded", "false");
  let chosen = -1, loading = null;

  function load() {
    loading ??= new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { src: up + "search-index.js", onload: resolve, onerror: reject });
      document.head.append(script);
    });
    return loading;
  }

  function say(text) { // one line in the place of results
    const line = Object.assign(document.createElement("li"), { textContent: text });
    line.setAttribute("role", "option");
    line.setAttribute("aria-disabled", "true");
    list.replaceChildren(line);
  }

  function line(entry, i) {
    const item = document.createElement("li"), small = document.createElement("small"), mark = document.createElement("mark");
    const [before, found, after] = around(entry.text, input.value);
    mark.textContent = found;
    small.append(entry.heading && entry.heading !== entry.title ? `${entry.title} · ` : "", before, mark, after);
    item.append(Object.assign(document.createElement("b"), { textContent: entry.heading || entry.title }), small);
    item.id = `result-${i}`;
    item.dataset.url = up + entry.url;
    item.setAttribute("role", "option");
    item.addEventListener("mousedown", (event) => { event.preventDefault(); go(item); });
    return item;
  }

  function choose(i) {
    const items = list.querySelectorAll("[data-url]");
    chosen = items.length ? (i + items.length) % items.length : -1;
    items.forEach((item, n) => item.setAttribute("aria-selected", String(n === chosen)));
    if (chosen < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", items[chosen].id);
    items[chosen].scrollIntoView({ block: "nearest" });
  }

  function go(item) { close(); location.href = item.dataset.url; }
  function close() { list.hidden = true; input.setAttribute("aria-expanded", "false"); }

  async function look() {
    if (!input.value.trim()) return close();
    try {
      await load();
      const found = find(globalThis.searchIndex, input.value);
      if (found.length) list.replaceChildren(...found.map(line));
      else say(`no page has "${input.value.trim()}"`);
    } catch {
      say("The index of the search cannot be loaded. Check the connection.");
      loading = null;
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    choose(0);
  }

  input.addEventListener("focus", () => load().catch(() => { loading = null; }));
  input.addEventListener("input", look);
  input.addEventListener("blur", close);
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(chosen + (event.key === "ArrowDown" ? 1 : -1)); }
    if (event.key === "Enter" && chosen >= 0) go(list.querySelectorAll("[data-url]")[chosen]);
    if (event.key === "Escape") { close(); input.blur(); }
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); input.focus(); input.select(); }
  });
}

if (typeof document !== "undefined") begin(document.querySelector("form[role=search]"));
else Object.assign(globalThis, { find, around }); // for the tests, in node

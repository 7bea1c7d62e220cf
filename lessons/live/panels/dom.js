// The few elements that every panel is made of.

export function make(tag, properties = {}, ...children) {
  const { data = {}, ...plain } = properties, element = Object.assign(document.createElement(tag), plain);
  for (const name of ["role", "for"]) if (plain[name]) element.setAttribute(name, plain[name]);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A slider with its name and its value. shown: number -> what is written beside it; act(number) when it is moved.
export function slider(name, { min, max, step = 1, value, shown = String }, act) {
  const said = make("b", {}, shown(value)); // no <output>: the label would name that, and not the slider
  const input = make("input", { type: "range", min, max, step, value });
  const tell = () => { said.textContent = shown(+input.value); input.setAttribute("aria-valuetext", said.textContent); };
  input.addEventListener("input", () => { tell(); act(+input.value); });
  tell();
  const label = make("label", { className: "slider" }, make("span", {}, name, " ", said), input);
  return Object.assign(label, { input });
}

// A list to choose from. options: {value: text}
export function choice(name, options, value, act) {
  const select = make("select", {}, ...Object.entries(options).map(([key, text]) => make("option", { value: key }, text)));
  select.value = value;
  select.addEventListener("change", () => act(select.value));
  return Object.assign(make("label", { className: "choice" }, make("span", {}, name), select), { select });
}

export function button(text, act) {
  const element = make("button", { type: "button" }, text);
  element.addEventListener("click", act);
  return element;
}

// Text that a screen reader reads when it has changed.
export const spoken = (className = "said") => {
  const element = make("p", { className });
  element.setAttribute("aria-live", "polite");
  return element;
};

// Read aloud only when it is finished: a screen reader should not read every token.
export const streaming = (element, isBusy) => element.setAttribute("aria-busy", isBusy);

// The width for a picture in this element, in pixels: letters are then as large as those around it.
export const widthOf = (element) => Math.min(Math.max(element.clientWidth, 280), 860);

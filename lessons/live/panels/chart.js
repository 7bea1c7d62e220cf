// A small line chart as SVG, with a text alternative. Colours are names of CSS variables.

import { svg } from "./dom.js";

const LEFT = 62, BOTTOM = 46, TOP = 14, RIGHT = 24;

// x, y: {from, to, label, ticks, log}   lines: [{points: [[x, y]], colour, dashed, marks, label}]
// told: what a screen reader says in place of the picture. Labels are written at the end of a line, or where `at` says.
export function chart({ x, y, lines, told, width, height = Math.min(380, Math.max(220, 0.45 * width)) }) {
  const across = place(x, LEFT, width - RIGHT), up = place(y, height - BOTTOM, TOP);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told });
  for (const tick of x.ticks) {
    picture.append(svg("line", { x1: across(tick), x2: across(tick), y1: height - BOTTOM, y2: height - BOTTOM + 5, class: "axis" }),
      svg("text", { x: across(tick), y: height - BOTTOM + 20, "text-anchor": "middle" }, x.shown?.(tick) ?? String(tick)));
  }
  for (const tick of y.ticks) {
    picture.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: up(tick), y2: up(tick), class: "grid" }),
      svg("text", { x: LEFT - 8, y: up(tick) + 5, "text-anchor": "end" }, y.shown?.(tick) ?? String(tick)));
  }
  picture.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, x.label),
    svg("text", { x: 14, y: (TOP + height - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(TOP + height - BOTTOM) / 2})` }, y.label));
  for (const line of lines) picture.append(...drawn(line, across, up));
  return picture;
}

function place({ from, to, log }, start, end) { // number -> pixels
  const scale = log ? Math.log : (value) => value, low = scale(from), high = scale(to);
  return (value) => start + ((scale(Math.min(Math.max(value, from), to)) - low) / (high - low)) * (end - start);
}

function drawn({ points, colour, dashed, marks, label, at, anchor = "start" }, across, up) {
  const path = points.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`), shapes = [];
  if (points.length > 1) {
    shapes.push(svg("polyline", { points: path.join(" "), fill: "none", style: `stroke: var(${colour})`, "stroke-width": 2.5, ...(dashed ? { "stroke-dasharray": "6 5" } : {}) }));
  }
  if (marks) shapes.push(...points.map(([x, y]) => svg("circle", { cx: across(x), cy: up(y), r: 5, style: `fill: var(${colour})` })));
  const [lx, ly] = at ?? points.at(-1) ?? [];
  if (label && lx !== undefined) {
    shapes.push(svg("text", { x: across(lx) + (anchor === "end" ? -8 : 8), y: up(ly) - 8, "text-anchor": anchor, class: "name", style: `fill: var(${colour})` }, label));
  }
  return shapes;
}

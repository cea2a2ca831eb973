// Weight Schedule: the points of its own curve, moved by mouse. A click adds one, a double click removes it.
// Core's curve widget lies between 0 and 1 and saves a curve of its own; these go over steps, below 0, and stay a text.
import { app } from "../../scripts/app.js";
import { edit, place, shape } from "./drag_editor.js";
import { pairs, rounded, withMore, withPair, without } from "./number_text.js";
import { isOurs } from "./ours.js";

const HEIGHT = 140;
const MARGIN = 14;
const NEAR = 10; // pixels within which a point is taken
const INK = "var(--input-text, #ddd)";

const points = (text) => pairs(text)?.map((pair) => ({ ...pair, at: Number(pair.name) })) ?? [];

function frame({ node, text, svg, dragged }) {
  if (dragged) return dragged.frame; // it stays while a point is moved
  const value = (name) => node.widgets.find((widget) => widget.name === name)?.value;
  const all = points(text.value);
  const isShare = value("unit") === "percent";
  return {
    step: isShare ? 0.01 : 1,
    last: isShare ? 1 : Math.max(1, value("shown_over") - 1, ...all.map(({ at }) => at)),
    least: Math.min(0, ...all.map(({ number }) => number)),
    most: Math.max(1, ...all.map(({ number }) => number)),
    width: svg.clientWidth - 2 * MARGIN,
    height: HEIGHT - 2 * MARGIN,
  };
}

const toPlace = (f, { at, number }) => [
  MARGIN + (at / f.last) * f.width,
  MARGIN + ((f.most - number) / (f.most - f.least)) * f.height,
];

function fromPlace(f, [x, y]) {
  const share = Math.min(1, Math.max(0, (x - MARGIN) / f.width));
  const depth = Math.min(1, Math.max(0, (y - MARGIN) / f.height));
  return { at: rounded(share * f.last, f.step), number: rounded(f.most - depth * (f.most - f.least), 0.01) };
}

function nearest(f, all, [x, y]) {
  const away = all.map((point) => Math.hypot(toPlace(f, point)[0] - x, toPlace(f, point)[1] - y));
  const index = away.indexOf(Math.min(...away));
  return away[index] <= NEAR ? index : -1;
}

function take(editor, event) {
  const f = frame(editor);
  const where = place(editor.svg, event);
  const text = editor.text.value;
  if (!pairs(text)) return null;
  const index = nearest(f, points(text), where);
  if (index >= 0) return { index, frame: f };
  const { at, number } = fromPlace(f, where);
  editor.write(withMore(text, `${at}:${number}`));
  return { index: points(editor.text.value).length - 1, frame: f };
}

function move(editor, event) {
  const { index, frame: f } = editor.dragged;
  const { at, number } = fromPlace(f, place(editor.svg, event));
  const pair = points(editor.text.value)[index];
  if (pair) editor.write(withPair(editor.text.value, pair, at, number));
}

function remove(editor, event) {
  const all = points(editor.text.value);
  const index = nearest(frame(editor), all, place(editor.svg, event));
  if (index >= 0 && all.length > 1) editor.write(without(editor.text.value, all[index]));
}

function draw(editor) {
  const f = frame(editor);
  const all = points(editor.text.value);
  if (!all.length) return [shape("text", { x: MARGIN, y: HEIGHT / 2, fill: INK, "font-size": 12 }, "Write points as 0:1, 10:0.5")];
  const inOrder = [...all].sort((one, other) => one.at - other.at);
  const ends = [{ ...inOrder[0], at: 0 }, ...inOrder, { ...inOrder.at(-1), at: f.last }];
  const line = ends.map((point) => toPlace(f, point).join(",")).join(" ");
  const [, zero] = toPlace(f, { at: 0, number: 0 });
  return [
    shape("line", { x1: MARGIN, x2: MARGIN + f.width, y1: zero, y2: zero, stroke: INK, opacity: 0.3 }),
    shape("polyline", { points: line, fill: "none", stroke: "#5b8def", "stroke-width": 2 }),
    ...all.map((point) => {
      const [cx, cy] = toPlace(f, point);
      const circle = shape("circle", { cx, cy, r: 5, fill: "#5b8def", stroke: INK });
      circle.append(shape("title", {}, `${point.at}: ${point.number} (double click removes it)`));
      return circle;
    }),
  ];
}

app.registerExtension({
  name: "comfyui-ip-adapter.drag-points",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== "IPA_Schedule" || !isOurs(nodeData)) return;
    edit(nodeType, {
      text: "points",
      menu: "shape",
      also: ["unit", "shown_over"],
      height: () => HEIGHT,
      draw,
      take,
      move,
      remove,
    });
  },
});

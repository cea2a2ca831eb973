// Layer Weights: the numbers of a custom list as bars, set by mouse. The menu below adds one, a double click removes it.
import { app } from "../../scripts/app.js";
import { edit, place, shape } from "./drag_editor.js";
import { pairs, rounded, withMore, withNumber, without } from "./number_text.js";
import { isOurs } from "./ours.js";

const ROW = 22;
const MENU = 28; // height of the menu below
const LABEL = 96; // width of the names
const STEP = 0.05;
const LEAST = -1; // what bars reach to, at least
const MOST = 2;
const INK = "var(--input-text, #ddd)";
const COLOURS = { true: "#e8833a", false: "#5b8def" }; // by whether it pushes away
const PARTS = ["style", "composition", "all", "input", "middle", "output"];
const BLOCKS = { input: [1, 2, 4, 5, 7, 8], output: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] };
const NAMES = [...PARTS, ...Object.entries(BLOCKS).flatMap(([stage, all]) => all.map((block) => `${stage}.${block}`))];

function frame({ text, svg, dragged }) {
  if (dragged) return dragged.frame; // it stays while a bar is moved
  const numbers = (pairs(text.value) ?? []).map(({ number }) => number);
  const [least, most] = [Math.min(LEAST, ...numbers), Math.max(MOST, ...numbers)];
  return { least, most, width: svg.clientWidth - LABEL - 8 };
}

const toX = (f, number) => LABEL + ((number - f.least) / (f.most - f.least)) * f.width;

function fromX(f, x) {
  const share = Math.min(1, Math.max(0, (x - LABEL) / f.width));
  return rounded(f.least + share * (f.most - f.least), STEP);
}

const rowAt = (editor, event) => Math.floor(place(editor.svg, event)[1] / ROW);

function set(editor, event) {
  const { index, frame: f } = editor.dragged;
  const pair = pairs(editor.text.value)?.[index];
  if (pair) editor.write(withNumber(editor.text.value, pair, fromX(f, place(editor.svg, event)[0])));
}

function take(editor, event) {
  const index = rowAt(editor, event);
  if (!pairs(editor.text.value)?.[index] || place(editor.svg, event)[0] < LABEL) return null;
  editor.dragged = { index, frame: frame(editor) };
  set(editor, event);
  return editor.dragged;
}

function remove(editor, event) {
  const all = pairs(editor.text.value);
  const index = rowAt(editor, event);
  if (all?.[index] && place(editor.svg, event)[0] < LABEL) editor.write(without(editor.text.value, all[index]));
}

function bar(f, { name, number }, row) {
  const [zero, end, y] = [toX(f, 0), toX(f, number), row * ROW];
  const box = { x: Math.min(zero, end), y: y + 4, width: Math.abs(end - zero), height: ROW - 8, rx: 2 };
  const label = shape("text", { x: 4, y: y + 15, fill: INK, "font-size": 12 }, name);
  label.append(shape("title", {}, "A double click removes it"));
  return [
    shape("rect", { x: LABEL, y: y + 2, width: f.width, height: ROW - 4, fill: INK, opacity: 0.08 }),
    shape("rect", { ...box, fill: COLOURS[number < 0] }),
    shape("line", { x1: zero, x2: zero, y1: y + 2, y2: y + ROW - 2, stroke: INK, opacity: 0.4 }),
    label,
    shape("text", { x: LABEL + f.width - 4, y: y + 15, fill: INK, "font-size": 11, "text-anchor": "end" }, number),
  ];
}

function draw(editor) {
  const all = pairs(editor.text.value);
  if (!all) return [shape("text", { x: 4, y: 15, fill: INK, "font-size": 12 }, "Write names and numbers: style = 1")];
  const f = frame(editor);
  return all.flatMap((pair, row) => bar(f, pair, row));
}

function adding(editor) {
  const menu = document.createElement("select");
  menu.style.cssText = `width:100%; height:${MENU - 6}px; background:var(--comfy-input-bg); color:${INK}; border:0`;
  menu.append(...["add …", ...NAMES].map((name) => new Option(name)));
  menu.addEventListener("pointerdown", (event) => event.stopPropagation());
  menu.addEventListener("change", () => {
    if (menu.selectedIndex) editor.write(withMore(editor.text.value, `${menu.value} = 1`));
    menu.selectedIndex = 0;
  });
  return [menu];
}

app.registerExtension({
  name: "comfyui-ip-adapter.drag-bars",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== "IPA_LayerWeights" || !isOurs(nodeData)) return;
    edit(nodeType, {
      text: "custom",
      menu: "weight_type",
      height: (text) => ROW * Math.max(1, pairs(text)?.length ?? 1) + MENU,
      below: MENU,
      more: adding,
      draw,
      take,
      move: set,
      remove,
    });
  },
});

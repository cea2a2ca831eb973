// Shows on a node what counts with the choice in its menu. The rest is hidden and keeps its value, in its place.
import { app } from "../../scripts/app.js";

const FROM_TO = ["linear", "ease in", "ease out", "ease in-out", "cosine", "first n", "random"];
const TWO_PARTS = [
  "style and composition",
  "strong style and composition",
  "style transfer precise",
  "composition precise",
  "InstantStyle style and layout",
];

// widgets: name -> choices of the menu with which it counts; one that is not named always does. In several rows of a node
// it counts with any of them. A menu may itself be one of the widgets: hidden, it makes nothing count.
export const ROWS = [
  { node: "IPA_Encode", menu: "detail", widgets: { tiles: ["tiles", "whole and tiles"] } },
  { node: "IPA_Face", menu: "faces", widgets: { index: ["by index"] } },
  { node: "IPA_LayerWeights", menu: "weight_type", widgets: { second_weight: TWO_PARTS, custom: ["custom list"] } },
  {
    node: "IPA_Prepare",
    menu: "crop",
    widgets: { point_x: ["point"], point_y: ["point"], margin: ["mask"], border: ["pad", "mask"] },
  },
  { node: "IPA_Prepare", menu: "border", widgets: { colour: ["colour"] } },
  {
    node: "IPA_Prepare",
    menu: "background",
    widgets: { soft_edge: ["grey", "black", "white", "colour"], colour: ["colour"] },
  },
  {
    node: "IPA_Schedule",
    menu: "shape",
    widgets: {
      start_value: ["constant", ...FROM_TO],
      end_value: FROM_TO,
      points: ["points"],
      n: ["first n"],
      random_seed: ["random"],
    },
  },
];

export const byName = (node, name) => node.widgets?.find((widget) => widget.name === name);

export function isLinked(node, name) {
  const index = node.inputs?.findIndex((input) => input.widget?.name === name) ?? -1;
  return index >= 0 && node.isInputConnected(index);
}

export function afterwards(object, method, told) {
  const before = object[method];
  object[method] = function () {
    const answer = before?.apply(this, arguments);
    told.apply(this, arguments);
    return answer;
  };
}

const tellers = new WeakMap(); // node -> what says anew which of its widgets are hidden

// Editors since 1.58 are told. Older ones ask: the classic canvas the widget, Nodes 2.0 its options, whose values it watches.
export function hideWhen(node, widget, isHidden) {
  if ("hidden" in Object.getPrototypeOf(widget)) {
    const tell = () => (widget.hidden = isHidden());
    tellers.set(node, [...(tellers.get(node) ?? []), tell]);
    return tell();
  }
  const hidden = { get: isHidden, set: () => {}, enumerable: true, configurable: true };
  for (const asked of [widget, widget.options]) Object.defineProperty(asked, "hidden", hidden);
}

const tellAll = (node) => tellers.get(node)?.forEach((tell) => tell());

class Applies {
  constructor(node, rows) {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.widgets)))];
    Object.assign(this, { node, rows, names, asIf: null });
    for (const name of this.names) hideWhen(node, byName(node, name), () => !(this.asIf ?? this).has(name));
    this.last = this.shown;
    for (const { menu } of rows) afterwards(byName(node, menu), "callback", () => this.follow());
    afterwards(node, "onConnectionsChange", () => this.follow());
    afterwards(node, "onConfigure", (saved) => this.take(saved));
  }

  // Whether a widget counts. What a link brings is not known here, and a link's own end must be seen.
  has(name) {
    const rows = this.rows.filter((row) => name in row.widgets);
    return !rows.length || isLinked(this.node, name) || rows.some((row) => this.chosen(row, row.widgets[name]));
  }

  chosen({ menu }, choices) {
    return isLinked(this.node, menu) || (this.has(menu) && choices.includes(byName(this.node, menu).value));
  }

  get shown() {
    return new Set(this.names.filter((name) => this.has(name)));
  }

  heightWith(shown) {
    this.asIf = shown;
    tellAll(this.node);
    const [, height] = this.node.computeSize();
    this.asIf = null;
    tellAll(this.node);
    return height;
  }

  // The node becomes as much higher or lower as its widgets: the room for its picture stays, and what a user gave.
  follow() {
    const { node, last, shown } = this;
    const [before, needed] = [last, shown].map((names) => this.heightWith(names));
    this.last = shown;
    if (before !== needed) node.setSize([node.size[0], Math.max(node.size[1] + needed - before, needed)]);
    app.graph?.setDirtyCanvas(true, true);
  }

  // A graph brings values, and with them the size.
  take(saved) {
    this.last = this.shown;
    if (saved.size) this.node.setSize([saved.size[0], Math.max(saved.size[1], this.heightWith(this.last))]);
  }
}

export function showOnlyWhatApplies(node) {
  const rows = ROWS.filter((row) => row.node === node.constructor.nodeData.name);
  if (rows.length) new Applies(node, rows);
}

// Shows on a node of this package the text its last run gave: what a file is, which files were chosen.
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";

const NAME = "about";
const HEIGHT = 64; // units of the graph: four lines, the others scroll

export function aboutWidget(node) {
  const there = node.widgets?.find((widget) => widget.name === NAME);
  if (there) return there;
  const { widget } = app.widgets.STRING(node, NAME, ["STRING", { multiline: true }], app);
  widget.element.readOnly = true;
  widget.element.style.opacity = 0.7;
  widget.serialize = false; // neither saved with the graph
  Object.assign(widget.options, { serialize: false, getMinHeight: () => HEIGHT, getMaxHeight: () => HEIGHT }); // nor sent
  return widget;
}

export function show(node, text) {
  aboutWidget(node).value = text;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  app.graph.setDirtyCanvas(true, false);
}

app.registerExtension({
  name: "comfyui-ip-adapter.node-text",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!isOurs(nodeData)) return;
    const { onExecuted } = nodeType.prototype;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text) show(this, output.text.join("\n"));
    };
  },
});

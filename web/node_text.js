// Shows on a node of this package the text its last run gave: what a file is, which files were chosen.
import { app } from "../../scripts/app.js";
import { ComfyWidgets } from "../../scripts/widgets.js";
import { isOurs } from "./ours.js";

const NAME = "about";

function aboutWidget(node) {
  const there = node.widgets?.find((widget) => widget.name === NAME);
  if (there) return there;
  const { widget } = ComfyWidgets.STRING(node, NAME, ["STRING", { multiline: true }], app);
  const field = widget.element ?? widget.inputEl;
  if (field) {
    field.readOnly = true;
    field.style.opacity = 0.7;
  }
  widget.serialize = false; // neither saved with the graph
  widget.options.serialize = false; // nor sent with the prompt
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

// Shows what the menus of our nodes offer in the editor's language; what is saved and sent stays English.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";

let texts = {}; // language -> what this server's packages say in it

const menus = (node) => texts[app.extensionManager.setting.get("Comfy.Locale")]?.nodeDefs?.[node]?.inputs ?? {};

app.registerExtension({
  name: "comfyui-ip-adapter.menu-words",
  async init() {
    texts = await (await api.fetchApi("/i18n")).json();
  },
  nodeCreated(node) {
    if (!isOurs(node.constructor.nodeData)) return;
    const inputs = menus(node.comfyClass);
    for (const widget of node.widgets ?? []) {
      const words = inputs[widget.name]?.options;
      if (words) widget.options.getOptionLabel = (value) => words[value] ?? value ?? "";
    }
  },
});

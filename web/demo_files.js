// Puts the demo's model files into the lists when a graph that names them is opened; and the setting that keeps them there.
import { app } from "../../scripts/app.js";
import { post } from "./post.js";

const DEMO = "small_world"; // begins the name of each of its files

let shown = false;

async function names(text) {
  const answer = await post("/ip_adapter/demo_files", text);
  return answer.ok && (await answer.json()).named;
}

app.registerExtension({
  name: "comfyui-ip-adapter.demo-files",
  settings: [
    {
      id: "IPAdapter.demo_models",
      name: "Demo models in the lists of models",
      category: ["IP-Adapter", "Demo", "Models"],
      type: "combo",
      options: ["when a graph uses them", "always"],
      defaultValue: "when a graph uses them",
      tooltip:
        "The small world's checkpoints, ControlNet, LoRA and face networks. They are in the lists from the first graph that uses them " +
        "until ComfyUI ends; always: from its next start on.",
    },
  ],
  async beforeConfigureGraph(graph) {
    const text = shown ? "" : JSON.stringify(graph);
    if (!text.includes(DEMO) || !(await names(text))) return;
    shown = true;
    await app.refreshComboInNodes();
  },
});

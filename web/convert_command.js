// The command that turns nodes of IPAdapter Plus into those of this package, in a tab of its own.
import { app } from "../../scripts/app.js";
import { post } from "./post.js";

const COMMAND = "comfyui-ip-adapter.convert";
const LABEL = "Convert IPAdapter Plus nodes to IP-Adapter nodes";
const STAYS = ": stays as it is";

function tell(severity, summary, lines = []) {
  app.extensionManager.toast.add({ severity, summary, detail: lines.join("\n") });
}

async function ask(graph) {
  const answer = await post("/ip_adapter/convert", JSON.stringify(graph));
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function convert() {
  try {
    const { graph, lines, summary, converted } = await ask((app.rootGraph ?? app.graph).serialize());
    if (converted) await app.loadGraphData(graph);
    for (const line of lines) console.info(`IP-Adapter: ${line}`);
    tell(converted ? "success" : "info", summary, lines.filter((line) => line.includes(STAYS)));
  } catch (error) {
    tell("error", "The graph could not be converted.", [error.message]);
  }
}

app.registerExtension({
  name: COMMAND,
  commands: [{ id: COMMAND, label: LABEL, icon: "pi pi-sync", function: convert }],
  menuCommands: [{ path: ["Edit"], commands: [COMMAND] }],
});

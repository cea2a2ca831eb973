// Brings graphs with nodes of IPAdapter Plus in the shapes of other times into today's, before they are opened.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const areAlike = (one, other) =>
  one && other && typeof one === "object" && typeof other === "object" && Array.isArray(one) === Array.isArray(other);

// Writes what differs between two forms of a graph into the graph itself, whose parts others may hold.
function carry(target, before, after) {
  for (const key of Object.keys(after)) {
    if (same(before[key], after[key])) continue;
    if (areAlike(before[key], after[key]) && areAlike(target[key], after[key])) carry(target[key], before[key], after[key]);
    else target[key] = after[key];
  }
}

function holdsOldNodes(text) {
  const types = Object.entries(LiteGraph.registered_node_types);
  return types.some(([id, { nodeData }]) => nodeData?.deprecated && isOurs(nodeData) && text.includes(JSON.stringify(id)));
}

app.registerExtension({
  name: "comfyui-ip-adapter.old-graphs",
  async beforeConfigureGraph(graph) {
    const text = JSON.stringify(graph);
    if (!holdsOldNodes(text)) return;
    const answer = await api.fetchApi("/ip_adapter/old_graph", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: text,
    });
    if (!answer.ok) return console.warn("IP-Adapter: the graph is opened as it is saved", answer.status);
    const { graph: changed, lines } = await answer.json();
    carry(graph, JSON.parse(text), changed);
    for (const line of lines) console.info(`IP-Adapter: ${line}`);
  },
});

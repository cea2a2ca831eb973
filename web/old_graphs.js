// Brings graphs of other times and other computers into today's shape, with the files that are here, as they are opened.
import { app } from "../../scripts/app.js";
import { show } from "./node_text.js";
import { isOurs } from "./ours.js";
import { post } from "./post.js";

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

const allNodes = (graph) => [graph, ...(graph.subgraphs?.values() ?? [])].flatMap(({ nodes }) => nodes);

function holdsOurNodes(text) {
  const types = Object.entries(LiteGraph.registered_node_types);
  return types.some(([id, { nodeData }]) => isOurs(nodeData) && text.includes(JSON.stringify(id)));
}

let taken = []; // files of the graph that is being opened: {type, name, remark}

app.registerExtension({
  name: "comfyui-ip-adapter.old-graphs",
  async beforeConfigureGraph(graph) {
    taken = [];
    const text = JSON.stringify(graph);
    if (!holdsOurNodes(text)) return;
    const answer = await post("/ip_adapter/old_graph", text);
    if (!answer.ok) return console.warn("IP-Adapter: the graph is opened as it is saved", answer.status);
    const found = await answer.json();
    carry(graph, JSON.parse(text), found.graph);
    taken = found.taken;
    for (const line of found.lines) console.info(`IP-Adapter: ${line}`);
  },
  afterConfigureGraph() {
    for (const node of allNodes(app.rootGraph ?? app.graph)) {
      const one = taken.find(({ type, name }) => node.type === type && node.widgets?.some(({ value }) => value === name));
      if (one) show(node, one.remark);
    }
  },
});

// Shows what to do about an error of a node of this package: the first sentence of its message, which says that.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";

const LIFE = 20_000; // milliseconds

const firstSentence = (text) => text.trim().split(/(?<=\.)\s/, 1)[0];

api.addEventListener("execution_error", ({ detail }) => {
  const { nodeData } = LiteGraph.registered_node_types[detail.node_type] ?? {};
  if (!isOurs(nodeData)) return;
  const toast = { severity: "error", summary: nodeData.display_name, detail: firstSentence(detail.exception_message) };
  app.extensionManager.toast.add({ ...toast, life: LIFE });
});

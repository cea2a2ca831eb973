// Templates of this package in the order of their numbers; ComfyUI 0.30 gives them as the folder does.
import { api } from "../../scripts/api.js";
import { PACKAGE } from "./ours.js";

const { getWorkflowTemplates } = api;

api.getWorkflowTemplates = async function () {
  const names = await getWorkflowTemplates.apply(this, arguments);
  names[PACKAGE]?.sort();
  return names;
};

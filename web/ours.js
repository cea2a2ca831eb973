// Tells the nodes of this package from those of others, by the folder that ComfyUI serves this file from.
const [, folder] = new URL(import.meta.url).pathname.match(/\/extensions\/([^/]+)\//);
const MODULE = `custom_nodes.${decodeURIComponent(folder)}`;

export const isOurs = (nodeData) => nodeData?.python_module === MODULE;

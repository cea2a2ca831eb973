// Tells the nodes of this package from those of others, by the folder that ComfyUI serves this file from.
const [, folder] = new URL(import.meta.url).pathname.match(/\/extensions\/([^/]+)\//);

export const PACKAGE = decodeURIComponent(folder); // the folder's name, by which ComfyUI calls the package

export const isOurs = (nodeData) => nodeData?.python_module === `custom_nodes.${PACKAGE}`;

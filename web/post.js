// Sends a JSON text to a route of this package's server side.
import { api } from "../../scripts/api.js";

export const post = (route, body) =>
  api.fetchApi(route, { method: "POST", headers: { "Content-Type": "application/json" }, body });

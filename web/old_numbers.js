// A setting for the whole server: whether nodes of IPAdapter Plus compute as that pack did. The server reads it itself.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "comfyui-ip-adapter.old-numbers",
  settings: [
    {
      id: "IPAdapter.numbers",
      name: "Numbers of IPAdapter Plus nodes",
      category: ["IP-Adapter", "IPAdapter Plus", "Numbers"],
      type: "combo",
      options: ["right", "IPAdapter Plus"],
      defaultValue: "right",
      tooltip:
        "right: as the adapters were trained. IPAdapter Plus: the pictures of that pack, without the middle block and " +
        "with a black negative. Each of these nodes can say it for itself.",
    },
  ],
});

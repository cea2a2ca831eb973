// Colours of the sockets and links of this package, in both canvases; a theme that has its own for them keeps it.
import { app } from "../../scripts/app.js";

const COLOURS = {
  FACE_FEATURES: "#F2A65A",
  IMAGE_PROMPT: "#4FC3B5",
  IMAGE_PROMPT_INSTRUCTION: "#5FB0D9",
  IMAGE_PROMPT_REGIONS: "#9CCC65",
  IP_ADAPTER: "#E06C9F",
  LAYER_WEIGHTS: "#C9B458",
  MOODBOARD_PICTURE: "#B388EB",
  WEIGHT_SCHEDULE: "#8FA8F0",
};

// Nodes 2.0 reads them as variables of the page, which a theme overrides on the element itself.
function styleSheet() {
  const style = document.createElement("style");
  const lines = Object.entries(COLOURS).map(([type, colour]) => `--color-datatype-${type}: ${colour};`);
  style.textContent = `:root { ${lines.join(" ")} }`;
  return style;
}

// The classic canvas reads them from tables, which every theme empties and fills again as it is chosen.
function keep(table, type, colour) {
  let ofTheme = table[type];
  const property = { enumerable: true, configurable: true, get: () => ofTheme || colour, set: (value) => (ofTheme = value) };
  Object.defineProperty(table, type, property);
}

app.registerExtension({
  name: "comfyui-ip-adapter.socket-colours",
  setup() {
    document.head.append(styleSheet());
    for (const table of [app.canvas.default_connection_color_byType, LGraphCanvas.link_type_colors])
      for (const [type, colour] of Object.entries(COLOURS)) keep(table, type, colour);
  },
});

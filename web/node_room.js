// Room that a node has from the beginning for what its run shows on it, so that nothing jumps and nothing is covered.
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";
import { aboutWidget } from "./node_text.js";
import { showOnlyWhatApplies } from "./what_applies.js";

const PICTURE = 300; // units of the graph's height: a picture of 224 and what the canvases put around it

const TEXT_ONLY = { text: true, height: 0 };
const PICTURE_ONLY = { text: false, height: PICTURE };
const BOTH = { text: true, height: PICTURE };

const ROOM = {
  IPA_AttentionMap: BOTH,
  IPA_AutoLoad: TEXT_ONLY,
  IPA_Encode: PICTURE_ONLY,
  IPA_EncodeFace: PICTURE_ONLY,
  IPA_Face: BOTH,
  IPA_FaceKeyPoints: PICTURE_ONLY,
  IPA_Grid: PICTURE_ONLY,
  IPA_LayerWeights: PICTURE_ONLY,
  IPA_LoadAdapter: TEXT_ONLY,
  IPA_LoadPrompt: TEXT_ONLY,
  IPA_LoadVision: TEXT_ONLY,
  IPA_Moodboard: PICTURE_ONLY,
  IPA_Noise: PICTURE_ONLY,
  IPA_Prepare: PICTURE_ONLY,
  IPA_SaveAdapter: TEXT_ONLY,
  IPA_SavePrompt: TEXT_ONLY,
  IPA_Schedule: PICTURE_ONLY,
  IPA_Score: BOTH,
  IPA_Simple: BOTH,
  IPA_SmallWorld: PICTURE_ONLY,
  IPA_SmallWorldPortrait: PICTURE_ONLY,
  IPA_StyleComposition: BOTH,
  IPA_Transition: PICTURE_ONLY,
};

app.registerExtension({
  name: "comfyui-ip-adapter.node-room",
  nodeCreated(node) {
    const room = isOurs(node.constructor.nodeData) && ROOM[node.constructor.nodeData.name];
    if (!room) return;
    if (room.text) aboutWidget(node);
    showOnlyWhatApplies(node);
    const [width, height] = node.computeSize();
    node.setSize([Math.max(node.size[0], width), height + room.height]);
  },
});

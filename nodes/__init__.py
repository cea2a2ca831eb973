"""The nodes of this package: their list is the only registry."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .apply import Apply
from .attention_map import AttentionMap
from .combine import Combine
from .encode import Encode, EncodeFace
from .face import Face, FaceEmbeds
from .host import face_embeds, faces
from .host.files import register_folders
from .host.prompt_files import register as register_prompts
from .host.small_world import register as register_small_world
from .layer_weights import LayerWeights
from .load import AutoLoad, LoadAdapter, LoadVision
from .noise import Noise
from .prompt_files import LoadPrompt, SavePrompt
from .regions import ApplyRegions, Region
from .save import SaveAdapter
from .schedule import Schedule
from .simple import Simple, StyleComposition
from .small_world import SmallWorld
from .train import Train
from .transition import Transition

NODES: list[type[io.ComfyNode]] = [
    LoadAdapter,
    LoadVision,
    AutoLoad,
    Encode,
    Apply,
    Simple,
    Train,
    SaveAdapter,
    SmallWorld,
    Face,
    FaceEmbeds,
    EncodeFace,
    StyleComposition,
    LayerWeights,
    Schedule,
    Combine,
    Region,
    ApplyRegions,
    Noise,
    Transition,
    SavePrompt,
    LoadPrompt,
    AttentionMap,
]


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        register_folders()
        register_small_world()
        faces.register()
        face_embeds.register()
        register_prompts()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES

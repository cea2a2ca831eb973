"""The nodes of this package: their list is the only registry."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .apply import Apply
from .combine import Combine
from .encode import Encode, EncodeFace
from .face import Face, FaceEmbeds
from .host import face_embeds, faces
from .host.files import register_folders
from .host.small_world import register as register_small_world
from .layer_weights import LayerWeights
from .load import AutoLoad, LoadAdapter, LoadVision
from .noise import Noise
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
]


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        register_folders()
        register_small_world()
        faces.register()
        face_embeds.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES

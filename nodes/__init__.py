"""The nodes of this package: their list is the only registry.

In: what a user connects and types. Out: what other nodes read. Each file has one node or a few that belong together;
node is what all of them share, sockets their types, notices what several say. Tests: tests/nodes; sockets and notices
in test_node.py, input_checks in test_node.py through node, and input_checks in tests/live/test_every_input.py through
every_input. Graphs of the nodes run on a ComfyUI server in tests/live: apply, encode, instruction, load and simple in
tests/live/test_nodes.py through prompting; combine, regions, schedule, transition and again simple in
tests/live/test_control_nodes.py; moodboard in tests/live/test_moodboard.py through boards and in
tests/live/test_moodboard_again.py; face and face_control in tests/live/test_faces.py; train and save in
tests/live/test_training.py through training; prompt_files in tests/live/test_prompt_files.py; score in
tests/live/test_scores.py, grid and grid_parts in tests/live/test_grid.py; attention_map in
tests/live/test_workflows.py, noise, prepare and small_world in tests/live/test_workflows.py through ui_graphs.
"""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import api
from .apply import Apply
from .attention_map import AttentionMap
from .combine import Combine
from .compat.registration import register as register_old_nodes
from .encode import Encode, EncodeFace
from .face import Face, FaceEmbeds
from .face_control import FaceKeyPoints, InstantIDControl
from .grid import ImagePromptGrid
from .grid_parts import GridModel, GridSheet
from .host import demo_files
from .instruction import Instruction
from .layer_weights import LayerWeights
from .load import AutoLoad, LoadAdapter, LoadVision
from .moodboard import Moodboard, MoodboardPicture
from .noise import Noise
from .prepare import Prepare
from .prompt_files import LoadPrompt, SavePrompt
from .regions import ApplyRegions, Region
from .save import SaveAdapter
from .schedule import Schedule
from .score import Score
from .simple import Simple, StyleComposition
from .small_world import SmallWorld, SmallWorldPortrait
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
    SmallWorldPortrait,
    Face,
    FaceEmbeds,
    EncodeFace,
    FaceKeyPoints,
    InstantIDControl,
    StyleComposition,
    LayerWeights,
    Schedule,
    Combine,
    Region,
    ApplyRegions,
    MoodboardPicture,
    Moodboard,
    Noise,
    Transition,
    SavePrompt,
    LoadPrompt,
    AttentionMap,
    Prepare,
    Score,
    ImagePromptGrid,
    Instruction,
]

PARTS: list[type[io.ComfyNode]] = [GridModel, GridSheet]
"""What other nodes become while they run; menus do not have them."""


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        api.register()
        demo_files.register()
        register_old_nodes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*NODES, *PARTS]

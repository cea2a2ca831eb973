"""Socket types of this package, and schemas that every supported ComfyUI understands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

IpAdapter = io.Custom("IP_ADAPTER")
ImagePrompt = io.Custom("IMAGE_PROMPT")
FaceFeatures = io.Custom("FACE_FEATURES")
LayerWeights = io.Custom("LAYER_WEIGHTS")
WeightSchedule = io.Custom("WEIGHT_SCHEDULE")
Regions = io.Custom("IMAGE_PROMPT_REGIONS")
Instruction = io.Custom("IMAGE_PROMPT_INSTRUCTION")
MoodboardCard = io.Custom("MOODBOARD_PICTURE")

CATEGORY = "IP-Adapter"

_DEMO, _PACKAGE = "demo", "ipadapter"

_FOLDERS = {
    "loaders": ("IPA_LoadAdapter", "IPA_LoadVision", "IPA_AutoLoad", "IPA_LoadPrompt", "IPA_SavePrompt"),
    "faces": ("IPA_Face", "IPA_FaceEmbeds", "IPA_EncodeFace", "IPA_FaceKeyPoints", "IPA_InstantIDControl"),
    "regions": ("IPA_Region", "IPA_ApplyRegions"),
    "animation": ("IPA_Transition", "IPA_Schedule"),
    "comparison": ("IPA_Score", "IPA_Grid", "IPA_GridModel", "IPA_GridSheet"),
    "training": ("IPA_Train", "IPA_SaveAdapter"),
    _DEMO: ("IPA_SmallWorld", "IPA_SmallWorldPortrait"),
}
FOLDER_OF = {node: folder for folder, nodes in _FOLDERS.items() for node in nodes}
"""Id of a node -> its folder in the menu; the nodes that most graphs have lie beside the folders."""


class Numerals(list[str]):
    """A menu of whole numbers and words that accepts any other whole number too, as a text or as a number."""

    def __contains__(self, choice: object) -> bool:
        return super().__contains__(choice) or str(choice).isdecimal()


class Menu(list[str]):
    """A menu that also accepts words which it offered before, and which saved graphs have."""

    def __init__(self, offered: Iterable[str], retired: Iterable[str] = ()) -> None:
        super().__init__(offered)
        self.retired = tuple(retired)

    def __contains__(self, choice: object) -> bool:
        return super().__contains__(choice) or choice in self.retired


_SCHEMA_FIELDS = {field.name for field in fields(io.Schema)}


def schema(node_id: str, name: str, description: str, *, inputs: list, outputs: list, **more: Any) -> io.Schema:
    """A node's schema in its folder of the menu; keywords that this ComfyUI does not know yet are left out.

    aliases: other words people search for. Those of the demo do not have the package's name, so that it stays behind.
    """
    folder = FOLDER_OF.get(node_id)
    more["search_aliases"] = [word for word in more.pop("aliases", []) if folder != _DEMO or _PACKAGE not in word]
    more = {key: value for key, value in more.items() if key in _SCHEMA_FIELDS}
    return io.Schema(
        node_id=node_id,
        display_name=name,
        category="/".join(filter(None, [CATEGORY, folder])),
        description=description,
        inputs=inputs,
        outputs=outputs,
        **more,
    )

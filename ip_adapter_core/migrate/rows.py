"""TABLE of what becomes of each node of IPAdapter Plus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..compat.signatures import OLD_ENCODER, OTHER_IPADAPTER, OTHER_SHAPES, SIGNATURES
from . import embeds, loaders, pictures
from .applying import Row as Applied
from .applying import two_pictures
from .ours import ALL
from .sheet import Node, Plan, Sheet, Stays, Way


class Becomes(NamedTuple):
    """What becomes of a node: a row of ROWS.

    nodes: ids of what it becomes; those in brackets only where the node's values need them. plan: makes it of a node.
    why: of nodes that stay, the reason; of others, what is not obvious.
    """

    nodes: str
    plan: Callable[[Node, Sheet, Way], Plan]
    why: str = ""

    def describe(self) -> str:
        """In one line, with the names that people see."""
        names = " + ".join(_named(word) for word in self.nodes.split())
        return "; ".join(filter(None, [names or "stays", self.why]))


def _named(word: str) -> str:
    bare = word.strip("()|")
    return word.replace(bare, ALL[bare].name) if bare in ALL else word


def _stays(why: str) -> Becomes:
    return Becomes("", partial(_refuse, why), why)


def _refuse(why: str, node: Node, sheet: Sheet, way: Way) -> Plan:
    raise Stays(why)


def _applied(plan: Applied) -> Becomes:
    return Becomes("IPA_Encode (IPA_LayerWeights) IPA_Apply", plan)


def _faces(plan: Applied, why: str = "") -> Becomes:
    return Becomes("IPA_Face IPA_EncodeFace (IPA_LayerWeights) IPA_Apply", plan, why)


def _boosted(kind: str, boost: str, per_frame: bool = False) -> Becomes:
    return _applied(Applied(weight_type=kind, boost=boost, per_frame=per_frame))


_TILED = _stays("how it cuts depends on the size of the picture, which a file does not tell")
_FRAMES = _stays("other nodes read its lists of numbers, and no node of ours gives such")
_REGIONS = _stays("its bundle of regions has no counterpart")
_PRESET = Becomes("IPA_AutoLoad", loaders.load_preset, "the model passes by it")
_FACE_LOADER = Becomes("IPA_Face", loaders.fold, "its folder stands on Face Embedding")
_TWO = Becomes("IPA_Encode IPA_LayerWeights IPA_Apply", two_pictures, "each twice, for style and for composition")
_OF_EMBEDS = Becomes("(IPA_LoadPrompt) (IPA_LayerWeights) IPA_Apply", embeds.apply)
_NO_NOISE = {"noise": 0.0}
_PLAIN_ENCODER = {"enhance_tiles": 1}
_STYLE, _COMPOSITION = ("style transfer precise", "style_boost"), ("composition precise", "composition_boost")

ROWS: dict[str, Becomes] = {
    "IPAdapter": _applied(Applied()),
    "IPAdapterAdvanced": _applied(Applied()),
    "IPAdapterBatch": _applied(Applied(per_frame=True)),
    "IPAdapterFaceID": _faces(Applied()),
    "IPAdapterFaceIDKolors": _faces(Applied(only={"weight_kolors": 1.0}), "with weight_kolors 1"),
    "IPAAdapterFaceIDBatch": _faces(Applied(per_frame=True)),
    "IPAdapterTiled": _TILED,
    "IPAdapterTiledBatch": _TILED,
    "IPAdapterEmbeds": _OF_EMBEDS,
    "IPAdapterEmbedsBatch": _stays("its embeds are for frames, which only Encode Image Prompt deals out"),
    "IPAdapterStyleComposition": _TWO,
    "IPAdapterStyleCompositionBatch": _TWO,
    "IPAdapterMS": _applied(Applied()),
    "IPAdapterClipVisionEnhancer": _applied(Applied(only=_PLAIN_ENCODER))._replace(why="with enhance_tiles 1"),
    "IPAdapterClipVisionEnhancerBatch": _applied(Applied(per_frame=True, only=_PLAIN_ENCODER))._replace(
        why="with enhance_tiles 1"
    ),
    "IPAdapterFromParams": _REGIONS,
    "IPAdapterPreciseStyleTransfer": _boosted(*_STYLE),
    "IPAdapterPreciseStyleTransferBatch": _boosted(*_STYLE, per_frame=True),
    "IPAdapterPreciseComposition": _boosted(*_COMPOSITION),
    "IPAdapterPreciseCompositionBatch": _boosted(*_COMPOSITION, per_frame=True),
    "IPAdapterUnifiedLoader": _PRESET,
    "IPAdapterUnifiedLoaderFaceID": _PRESET._replace(why="the LoRA acts in Apply Image Prompt, the model passes by it"),
    "IPAdapterModelLoader": Becomes("IPA_LoadAdapter", loaders.load_file),
    "IPAdapterInsightFaceLoader": _FACE_LOADER,
    "IPAdapterUnifiedLoaderCommunity": _PRESET,
    "IPAdapterEncoder": Becomes("IPA_Encode", embeds.encode, "with weight 1 and no mask"),
    "IPAdapterCombineEmbeds": Becomes("IPA_Combine", embeds.combine, "with concat"),
    "IPAdapterNoise": _stays("it draws its noise by the picture, and Noise Image by a seed"),
    "PrepImageForClipVision": Becomes("IPA_Prepare", pictures.prepare),
    "IPAdapterSaveEmbeds": Becomes("IPA_SavePrompt", embeds.save, "the file is one of ours, no .ipadpt"),
    "IPAdapterLoadEmbeds": Becomes("IPA_LoadPrompt", loaders.fold, "for each node that applies it"),
    "IPAdapterWeights": _FRAMES,
    "IPAdapterCombineWeights": _FRAMES,
    "IPAdapterWeightsFromStrategy": _FRAMES,
    "IPAdapterPromptScheduleFromWeightsStrategy": _stays("it writes a text for nodes of others"),
    "IPAdapterRegionalConditioning": _REGIONS,
    "IPAdapterCombineParams": _REGIONS,
    "IPAdapterApply": _applied(Applied(old_words=True, only=_NO_NOISE))._replace(why="with noise 0"),
    "IPAdapterCLIPVisionEncode": Becomes("CLIPVisionEncode", pictures.encode_vision),
    "IPAdapterApplyEncoded": _OF_EMBEDS._replace(nodes="IPA_Encode (IPA_LayerWeights) IPA_Apply"),
    "IPAdapterBatchEmbeds": _stays("its embeds know no adapter, and image prompts do"),
    "InsightFaceLoader": _FACE_LOADER,
    "PrepImageForInsightFace": Becomes("IPA_Prepare", pictures.prepare_face, "with pad_around off"),
    "IPAdapterApplyFaceID": _faces(Applied(old_words=True, only=_NO_NOISE), "with noise 0"),
    "IPAdapterTilesMasked": _TILED,
    OLD_ENCODER: Becomes("(ImageBatch) IPA_Encode", loaders.fold, "with weights 1 and noise 0, at Encoded's place"),
    OTHER_IPADAPTER: Becomes("IPA_LoadAdapter IPA_Encode IPA_Apply", pictures.apply_file),
}
"""By the rows of SIGNATURES and OTHER_SHAPES."""


def plan(node: Node, sheet: Sheet, way: Way) -> Plan:
    """What a node becomes. Raises Stays where it stays as it is."""
    if node.held:
        raise Stays(node.held)
    return ROWS[node.id or ""].plan(node, sheet, way)


def listing() -> list[str]:
    """A line for each old node: its id, and what becomes of it."""
    return [f"{node}: {ROWS[node].describe()}" for node in (*SIGNATURES, *OTHER_SHAPES)]

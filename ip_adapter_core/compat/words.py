"""TABLES of the words of IPAdapter Plus: its menus, and what words of other times mean today."""

from __future__ import annotations

from typing import NamedTuple

WEIGHT_TYPES = (
    "linear", "ease in", "ease out", "ease in-out", "reverse in-out", "weak input", "weak output", "weak middle",
    "strong middle", "style transfer", "composition", "strong style transfer", "style and composition",
    "style transfer precise", "composition precise",
)  # fmt: skip
SIMPLE_TYPES = ("standard", "prompt is more important", "style transfer")
OLD_WEIGHT_TYPES = ("original", "linear", "channel penalty")
COMBINES = ("concat", "add", "subtract", "average", "norm average")
SCALINGS = ("V only", "K+V", "K+V w/ C penalty", "K+mean(V) w/ C penalty")


class Meaning(NamedTuple):
    """What a word for a weight type means.

    weight_type: a row of layer_weights.TYPES.
    scaling: a row of scaling.SCALINGS; None where the node has an input of its own for it.
    """

    weight_type: str
    scaling: str | None = None


TYPE_MEANINGS: dict[str, Meaning] = {
    **{word: Meaning(word) for word in WEIGHT_TYPES},
    "strong style and composition": Meaning("strong style and composition"),
    "standard": Meaning("linear"),
    "prompt is more important": Meaning("ease out"),
    "original": Meaning("linear", "V only"),
    "channel penalty": Meaning("linear", "K+mean(V) w/ C penalty"),
    "style transfer (SDXL)": Meaning("style transfer"),
    "style transfer (SDXL only)": Meaning("style transfer"),
    "composition (SDXL)": Meaning("composition"),
    "style transfer and composition": Meaning("style and composition"),
}

OLD_LINEAR = Meaning("linear", "K+V")
"""What *linear* meant before version 2, beside *original* and *channel penalty*."""

RESAMPLINGS: dict[str, str] = {
    "area": "BOX",
    "nearest": "NEAREST",
    "nearest-exact": "NEAREST",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "lanczos": "LANCZOS",
}
"""Words for the interpolation before they were written in capitals."""

SECOND_IS_ONE = ("style and composition", "strong style and composition")
"""Weight types whose second number is 1 where nobody sets it; that of the others is the weight."""

NUMBERS_ROW = "numbers"
NUMBERS = OF_SERVER, RIGHT_NUMBERS, OLD_NUMBERS = "as set for the server", "right", "IPAdapter Plus"
"""The row that this package adds to old nodes, and its words."""

NORM_AVERAGE_OF_OLD = {"norm average": "norm average (IPAdapter Plus)"}
"""Ways to combine whose numbers were other ones in the old pack: its word -> the row of combine.COMBINE_MODES."""


def read_weight_type(word: str, before_version_2: bool = False) -> Meaning:
    """What a weight type means. Raises ValueError for a word that no version of the pack had."""
    if before_version_2 and word == "linear":
        return OLD_LINEAR
    if not isinstance(word, str) or word not in TYPE_MEANINGS:
        raise ValueError(f"Set weight_type to one of {', '.join(WEIGHT_TYPES)}; found {word!r}.")
    return TYPE_MEANINGS[word]

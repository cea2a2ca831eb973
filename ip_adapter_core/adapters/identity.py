"""What an adapter file is: its kind, the models it is for, and what it reads."""

from __future__ import annotations

from typing import NamedTuple

from ..layers.families import describe, family
from ..layers.layout import Geometry
from .resolution import TENSORS
from .variants import ENCODED, ENCODER_NAMES, Variant


class Identity(NamedTuple):
    """What an adapter file is.

    variant: the kind of adapter.
    geometry: sizes of the models that it fits.
    tokens: number per image; None when every hidden state becomes a token.
    widths: of the features that the variant reads, in its order.
    lora: whether the file contains one.
    rule: what decided the variant, in words.
    text_width: of the states of the texts that it reads beside images; None when it reads none.
    """

    variant: Variant
    geometry: Geometry
    tokens: int | None
    widths: tuple[int, ...]
    lora: bool = False
    rule: str = TENSORS
    text_width: int | None = None

    @property
    def family(self) -> str:
        """Name of the family of base models that it fits."""
        return self.variant.family or family(self.geometry)

    @property
    def encoder(self) -> str | None:
        """Name of the vision encoder that this adapter was trained with; None when it reads faces alone."""
        field, width = self.variant.reads[-1], self.widths[-1]
        if field not in ENCODED:
            return None
        return ENCODER_NAMES.get((field, width), f"an encoder of width {width}")

    @property
    def reads_faces(self) -> bool:
        """Whether it reads face embeddings."""
        return self.variant.reads_faces

    def describe(self) -> str:
        """One line for people: kind, what decided it unless the tensors did, family, tokens, and what it reads."""
        tokens = "a token per hidden state" if self.tokens is None else f"{self.tokens} tokens"
        read = ["face embeddings"] * self.reads_faces + [self.encoder or ""] * bool(self.encoder)
        read += ["an instruction"] * self.variant.instructed
        source = "" if self.rule == TENSORS else f" (told by {self.rule})"
        line = (
            f"{self.variant.name}{source}, {describe(self.geometry, self.family)}, {tokens}, reads {' and '.join(read)}"
        )
        return line + ", brings its LoRA" * self.lora

"""Features of images, from which image prompts are made, and the ones among them that an adapter reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import normalize

from ..adapters.identity import Identity
from ..adapters.variants import ENCODED

AdapterInputs = tuple[Tensor, ...]
"""The features that an adapter reads: a tensor (images, …, width) for each field of its variant, in order.

Behind them stands, for a selective variant, which hidden states it may read, (images, patches), boolean, unless all.
"""


class Features(NamedTuple):
    """Features of images; None where nothing has computed them.

    embeds: the embedding of a vision encoder, (images, embed).
    hidden: its hidden states, (images, patches, width).
    face: embeddings of a face recognition network, not normalised, (images, face).
    kept: which hidden states a selective adapter may read, (images, patches), boolean; None for all.
    levels: hidden states after several layers, (images, levels, states, width).
    normed_hidden: the states after the last layer and the final norm, (images, patches, width), of encoders that pool
        all of these, as PE-Core and SigLIP do.
    """

    embeds: Tensor | None = None
    hidden: Tensor | None = None
    face: Tensor | None = None
    kept: Tensor | None = None
    levels: Tensor | None = None
    normed_hidden: Tensor | None = None

    @property
    def normed_embeds(self) -> Tensor | None:
        """Embeddings of the vision encoder of length 1."""
        return None if self.embeds is None else normalize(self.embeds, dim=-1)

    @property
    def normed_face(self) -> Tensor | None:
        """Face embeddings of length 1."""
        return None if self.face is None else normalize(self.face, dim=-1)

    def select_for(self, identity: Identity, encoder: str) -> AdapterInputs:
        """The features that an adapter reads.

        encoder: its name for the user. Raises ValueError when the adapter was trained with another encoder.
        """
        inputs = tuple(getattr(self, field) for field in identity.variant.reads)
        for field, width, tensor in zip(identity.variant.reads, identity.widths, inputs, strict=True):
            if tensor is None or tensor.shape[-1] != width:
                actual = "none" if tensor is None else tensor.shape[-1]
                needed = identity.encoder if field in ENCODED else "a recognition network of the ArcFace kind"
                raise ValueError(
                    f"Load {needed} in place of the connected {encoder}: this {identity.variant.name} adapter "
                    f"reads {field} of width {width}, and that gives {actual}."
                )
            if field == "embeds" and tensor.ndim != 2:
                raise ValueError(
                    f"Load {identity.encoder} with Load CLIP Vision (OpenCLIP): this {identity.variant.name} adapter "
                    f"reads one embedding of each image, and {encoder} gives one of each of {tensor.shape[1]} patches."
                )
        return inputs if self.kept is None or not identity.variant.selective else (*inputs, self.kept)


def select_rows(inputs: AdapterInputs, numbers: Sequence[int]) -> AdapterInputs:
    """The features of the images with these numbers, in this order."""
    return tuple(features[list(numbers)] for features in inputs)

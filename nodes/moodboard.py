"""The nodes for several references, each with a role and a strength, that are mixed and seen in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.attention.balance import OFF
from ..ip_adapter_core.layers.layout import Layer
from ..ip_adapter_core.plots import moodboard as plot
from ..ip_adapter_core.settings.instruction import Instruction
from ..ip_adapter_core.settings.moodboard import ROLES, Card
from ..ip_adapter_core.settings.schedule import CONSTANT, Schedule
from ..ip_adapter_core.settings.span import TIME_UNITS, Span
from ..ip_adapter_core.vision.preprocess import FITS
from ..ip_adapter_core.vision.reference_mask import is_partly_read
from .apply import balance_input, mask_input, schedule_input, span_inputs, weight_input
from .encode import fit_input, instruction_input, reference_mask_input
from .host import models
from .host import moodboard as host
from .host.adapters import LoadedAdapter
from .host.pictures import to_image
from .input_checks import check_socket
from .node import Node
from .notices import of_instruction, of_mask, of_pictures, of_reference_mask, of_span, of_weight, with_notices
from .preview import preview
from .sockets import IpAdapter, MoodboardCard, schema

_NAMES = tuple(f"picture{number}" for number in range(1, 51))  # as many as core's nodes have of images


class MoodboardPicture(Node):
    """Images + role, strength, start, end -> MOODBOARD_PICTURE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_MoodboardPicture",
            "Moodboard Picture",
            "A reference for a moodboard: what it is there for, how strongly it acts, and when.",
            inputs=[
                io.Image.Input("image", tooltip="The reference. Several images are read as one prompt."),
                io.Combo.Input(
                    "role",
                    options=list(ROLES),
                    default="all",
                    tooltip="What the picture is there for. all: everything of it. style: colours, light and "
                    "brushwork. composition: where things are. avoid: what to move away from; it needs a cfg above 1.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly it acts: λ of this picture, multiplied with the weight of the moodboard. 0 "
                    "is the moodboard without it.",
                ),
                _share("start", 0.0, "begins"),
                _share("end", 1.0, "ceases"),
                fit_input(optional=True),
                reference_mask_input("image"),
                instruction_input(),
            ],
            outputs=[MoodboardCard.Output(display_name="picture", tooltip="For Moodboard.")],
            aliases=["moodboard card", "reference with a role", "avoid picture"],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        role: str,
        strength: float,
        start: float = 0.0,
        end: float = 1.0,
        fit: str = FITS[0],
        reference_mask: Tensor | None = None,
        instruction: Instruction | None = None,
    ) -> io.NodeOutput:
        return io.NodeOutput(Card(image, role, strength, start, end, fit, reference_mask, instruction).check())


class Moodboard(Node):
    """MODEL + adapter + encoder + MOODBOARD_PICTUREs -> MODEL, and a picture of the mix."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        card = MoodboardCard.Input("picture", tooltip="From Moodboard Picture.")
        return schema(
            "IPA_Moodboard",
            "Moodboard",
            "Let the model follow several references, each with a role and a strength. Shows them, the layers that "
            "each acts on, and who is stronger where.",
            inputs=[
                io.Model.Input("model", tooltip="The model to prompt. It is not changed; a patched copy comes out."),
                IpAdapter.Input("ip_adapter", tooltip="From Load IP-Adapter. It reads all pictures."),
                io.ClipVision.Input("clip_vision", tooltip="The encoder the adapter was trained with."),
                io.Autogrow.Input(
                    "pictures",
                    template=io.Autogrow.TemplateNames(card, list(_NAMES), min=0),
                    tooltip="From Moodboard Picture, one for each reference; a free input appears as one is connected.",
                ),
                weight_input("weight", "how strongly all pictures together act"),
                *span_inputs(),
                schedule_input(),
                mask_input(),
                balance_input(),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with all image prompts."),
                io.Image.Output(display_name="board", tooltip="The pictures, and what each layer gets of them."),
            ],
            aliases=["mood board", "several references", "mix references", "style board", "reference board"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        ip_adapter: LoadedAdapter,
        clip_vision: Any,
        weight: float,
        start: float,
        end: float,
        pictures: dict[str, Card] | None = None,
        unit: str = TIME_UNITS[0],
        schedule: Schedule = CONSTANT,
        mask: Tensor | None = None,
        balance: str = OFF,
    ) -> io.NodeOutput:
        span = Span(start, end, unit)
        cards, use = _cards(pictures or {}), ApplyOptions(weight, span, schedule=schedule, mask=mask, balance=balance)
        mixed = host.apply(model, ip_adapter, clip_vision, cards, use)
        layers = models.layers(model, ip_adapter.identity.geometry)
        board = to_image(plot.draw(_entries(cards, mixed.seen, use, layers)))
        notices = _notices(cards, ip_adapter, use)
        return io.NodeOutput(mixed.model, board, ui=with_notices(notices, preview(board, cls)))


def _entries(
    cards: Sequence[Card], seen: Sequence[Tensor], use: ApplyOptions, layers: tuple[Layer, ...]
) -> list[plot.Entry]:
    """What the board shows of each card; seen: its pictures, as the encoder saw them."""
    return [
        plot.Entry(
            pictures[0],
            card.role,
            card.strength,
            use.weight * card.strength,
            card.layer_weights.bars(layers),
            card.within(use.span),
        )
        for card, pictures in zip(cards, seen, strict=True)
    ]


def _cards(pictures: dict[str, Any]) -> list[Card]:
    """The cards that are connected, in the order of their inputs; an input between them may be free."""
    for name, value in pictures.items():
        if value is not None:
            check_socket(MoodboardCard.Input(name), value)
    return [card for card in pictures.values() if card is not None]


def _notices(cards: Sequence[Card], adapter: LoadedAdapter, use: ApplyOptions) -> list[str]:
    """Hints at what is most likely not meant, each once."""
    partly = any(is_partly_read(card.images, card.mask) for card in cards)
    of_cards = [notice for card in cards for notice in (*of_pictures(card.images), *of_span(card.within(use.span)))]
    of_all = [*of_weight(use.weight, what="the moodboard"), *of_mask(use.mask)]
    told = of_instruction(adapter.identity, any(card.instruction for card in cards))
    return [*of_all, *dict.fromkeys(of_cards), *of_reference_mask(adapter.identity, partly), *told]


def _share(name: str, default: float, does: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        optional=True,
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        advanced=True,
        tooltip=f"When the picture {does} to act, as a share of the time in which the moodboard acts: 0 is its start, "
        "1 its end.",
    )

"""The node that says how the weight changes over the sampling or over the frames of an animation."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_adapter_core.plots import schedule
from ..ip_adapter_core.settings import schedule as schedules
from ..ip_adapter_core.settings.curves import SHAPES, UNITS, Curve
from ..ip_adapter_core.settings.schedule import CONSTANT
from .host.pictures import to_image
from .node import Node
from .sockets import WeightSchedule, schema

_UNIT, _POINTS, _N = "steps", "0:1, 10:0.5, 19:0", 10


class Schedule(Node):
    """A shape, its numbers and what it counts -> WEIGHT_SCHEDULE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Schedule",
            "Weight Schedule",
            "Let the weight of an image prompt change: over the sampling, or over the frames of an animation. "
            "Shows the curve.",
            inputs=[*_shape_inputs(), *_more_inputs()],
            outputs=[
                WeightSchedule.Output(display_name="schedule", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="picture", tooltip="The curve."),
            ],
            aliases=[
                "combine weights ipadapter",
                "weights from strategy ipadapter",
                "prompt schedule from weights strategy",
                "weight curve",
                "keyframes",
                "animation",
                "fade",
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        shape: str,
        start_value: float,
        end_value: float,
        unit: str = _UNIT,
        points: str = _POINTS,
        n: int = _N,
        and_also: schedules.Schedule = CONSTANT,
        random_seed: int = 0,
        shown_over: int = 20,
    ) -> io.NodeOutput:
        curve = Curve(shape, unit, start_value, end_value, n, points, random_seed).check()
        combined = schedules.Schedule((curve,)) * and_also
        picture = to_image(schedule.draw(combined, shown_over))
        return io.NodeOutput(combined, picture, ui=ui.PreviewImage(picture, cls=cls))


def _shape_inputs() -> list[io.Input]:
    """The shape and the numbers it needs."""
    limits = {"min": -5.0, "max": 5.0, "step": 0.05}
    return [
        io.Combo.Input(
            "shape",
            options=list(SHAPES),
            default="linear",
            tooltip="How the weight goes from start_value to end_value. ease in begins slowly, ease out ends slowly, "
            "ease in-out and cosine do both. constant: start_value throughout. first n: start_value for the first n, "
            "then end_value. points: your own. random: a value between the two for each step or frame.",
        ),
        io.Float.Input(
            "start_value",
            default=1.0,
            **limits,
            tooltip="What the weight is multiplied with in the first step or frame: 1 leaves it, 0 turns it off.",
        ),
        io.Float.Input(
            "end_value",
            default=0.0,
            **limits,
            tooltip="What the weight is multiplied with in the last step or frame.",
        ),
        io.Combo.Input(
            "unit",
            optional=True,
            options=list(UNITS),
            default=_UNIT,
            tooltip="What the shape runs over. percent: the noise schedule, 0 to 1, as start and end count it. "
            "steps: the steps of this sampling. frames: the pictures of the batch, each with its own weight.",
        ),
        io.String.Input(
            "points",
            optional=True,
            default=_POINTS,
            multiline=True,
            tooltip="For the shape points: position:value, separated by commas or lines. Positions are step or frame "
            "numbers from 0, or fractions 0 to 1 for percent. Two at the same position are a jump.",
        ),
        io.Int.Input(
            "n",
            optional=True,
            default=_N,
            min=0,
            max=10000,
            tooltip="For the shape first n: how many steps or frames; hundredths of the noise schedule for percent.",
        ),
    ]


def _more_inputs() -> list[io.Input]:
    """Inputs that few schedules need."""
    return [
        WeightSchedule.Input(
            "and_also",
            optional=True,
            tooltip="Another schedule to multiply with: for instance, one over steps and one over frames.",
        ),
        io.Int.Input(
            "random_seed",
            optional=True,
            default=0,
            min=0,
            max=2**53 - 1,
            tooltip="For the shape random: other numbers give other values, the same number always the same.",
        ),
        io.Int.Input(
            "shown_over",
            optional=True,
            default=20,
            min=1,
            max=10000,
            advanced=True,
            tooltip="How many steps or frames the picture shows. The schedule itself fits every number of them.",
        ),
    ]

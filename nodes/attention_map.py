"""The node that shows where image prompts act in a picture."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.attention.attention_map import MAP_KINDS, SCALES, Maps, pick_images, read_steps, say_shares
from ..ip_adapter_core.plots import heat_map
from ..ip_adapter_core.settings import layer_weights
from .host.attention_map import AddedNoise, Sampled, look
from .host.pictures import to_image
from .host.sampling.attention_hook import MapRequest
from .input_checks import readable
from .node import Node
from .notices import with_notices
from .sockets import LayerWeights, schema


class AttentionMap(Node):
    """MODEL with image prompts + a sampled picture -> heat maps, as a picture and as masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_AttentionMap",
            "Image Prompt Attention",
            "Show where in a sampled picture each reference image acted, as a heat map over it.",
            inputs=[*_picture_inputs(), *_map_inputs(), *_more_inputs()],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The heat maps side by side, with their numbers."),
                io.Mask.Output(
                    display_name="maps", tooltip="The heat maps as masks of the image's size, one for each reference."
                ),
            ],
            is_experimental=True,
            aliases=["attention map", "heat map", "daam"],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(cls, percents: str | None) -> bool | str:
        return readable(read_steps, percents)

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        latent: dict[str, Any],
        image: Tensor,
        show: str,
        percents: str,
        seed: int,
        layers: layer_weights.LayerWeights = layer_weights.LINEAR,
        sigmas: Tensor | None = None,
        frame: int = 0,
        scale: str = SCALES[0],
        opacity: float = 0.6,
    ) -> io.NodeOutput:
        shown, noise = MAP_KINDS[show], AddedNoise(read_steps(percents), seed, sigmas)
        looked = look(model, Sampled(positive, latent, image), noise, MapRequest(shown, layers, frame))
        result = pick_images(image, latent["samples"].shape, frame)
        maps = Maps.of(looked.maps, shown, (result.shape[0], result.shape[1]), scale)
        picture = to_image(heat_map.draw(result, maps, opacity))
        preview = with_notices([say_shares(looked.shares)], ui.PreviewImage(picture, cls=cls))
        return io.NodeOutput(picture, maps.masks(), ui=preview)


def _picture_inputs() -> list[io.Input]:
    """Inputs for what was sampled, and with what."""
    return [
        io.Model.Input("model", tooltip="The model that sampled the picture, with its image prompts."),
        io.Conditioning.Input("positive", tooltip="The positive conditioning it was sampled with."),
        io.Latent.Input("latent", tooltip="The sampled latent, from the sampler."),
        io.Image.Input("image", tooltip="The same picture, decoded: what the heat maps are drawn over."),
    ]


def _map_inputs() -> list[io.Input]:
    """Inputs for what the maps show."""
    return [
        io.Combo.Input(
            "show",
            options=list(MAP_KINDS),
            default=next(iter(MAP_KINDS)),
            tooltip="influence: how much each reference adds at each place, relative to what the text says there. "
            "share: how references that were combined by concat divide the attention. tokens: how the tokens of the "
            "first reference do.",
        ),
        io.String.Input(
            "percents",
            default="0.2, 0.4, 0.6, 0.8",
            tooltip="With how much noise to look: fractions of the noise schedule, from 0 (all noise) to 1 (none). "
            "The model is called once for each. Early ones show composition, late ones texture.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**64 - 1,
            control_after_generate=False,  # left open, the editor would look with other noise after each run
            tooltip="The noise to look with. The sampler's seed gives the noise that it began with.",
        ),
        LayerWeights.Input(
            "layers",
            optional=True,
            tooltip="From Layer Weights: how much each layer counts. Left empty, all layers in which a reference acts "
            "count alike.",
        ),
    ]


def _more_inputs() -> list[io.Input]:
    """Inputs that few pictures need."""
    return [
        io.Sigmas.Input(
            "sigmas",
            optional=True,
            tooltip="From Basic Scheduler, set as the sampler was. Needed where start, end or a schedule of an image "
            "prompt counts steps.",
        ),
        io.Int.Input(
            "frame",
            optional=True,
            default=0,
            min=0,
            max=9999,
            advanced=True,
            tooltip="Which picture of a batch, from 0.",
        ),
        io.Combo.Input(
            "scale",
            optional=True,
            options=list(SCALES),
            default=SCALES[1],  # of new nodes; prompts without it mean the first, as they always did
            advanced=True,
            tooltip="What the darkest colour, and black in the masks, stand for. from zero: no influence. lowest to "
            "highest: the least there is, so that small differences are seen.",
        ),
        io.Float.Input(
            "opacity",
            optional=True,
            default=0.6,
            min=0.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="Of the colours over the picture: 1 is colours alone.",
        ),
    ]

"""ControlNets with random weights for the model of `Twins`, and texts for models like SDXL."""

from typing import Any

import torch

from fabricate.weights import random_weights
from twins import Twins

SIDES = (1, 2)  # seeds of the positive and of the negative text
Sides = tuple[list[Any], list[Any]]


def network(twins: Twins, seed: int, **changed: Any) -> Any:
    """A ControlNet of the model's construction with random weights, as the loader gives it."""
    from comfy import ops
    from comfy.cldm.cldm import ControlNet as Network
    from comfy.controlnet import ControlNet

    config = {**twins.patcher.model.model_config.unet_config, "hint_channels": 3, **changed}
    config.pop("out_channels")
    model = Network(**config, operations=ops.disable_weight_init)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(random_weights(shapes, seed, ""))
    return ControlNet(model.eval().requires_grad_(False), load_device=torch.device("cpu"))


def texts_for(context: int) -> Sides:
    """Positive and negative, with the vector that models like SDXL have beside the text."""
    from comfy.conds import CONDRegular

    def side(seed: int) -> list[Any]:
        random = torch.Generator().manual_seed(seed)
        text, vector = torch.randn(1, 7, context, generator=random), torch.randn(1, 64, generator=random)
        return [[text, {"model_conds": {"y": CONDRegular(vector)}, "mine": seed}]]

    return side(SIDES[0]), side(SIDES[1])

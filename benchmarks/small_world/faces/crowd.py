"""What the face networks are trained on, and where they are written."""

import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ....ip_adapter_core.faces.alignment import align
from ....ip_adapter_core.faces.networks import SIDE as CROP
from ....ip_adapter_core.small_world.canvas import PICTURE
from ....ip_adapter_core.small_world.people import person, portrait
from ....ip_adapter_core.small_world.portraits import draw, points
from ....ip_adapter_core.small_world.world import SIDE
from ..shelf import COUNTS, MODELS, kept

FOLDER = MODELS / "insightface" / "small_world"
"""The pack of the small world: networks with the inputs and outputs of insightface's."""
SERIES, SHOTS = 51, 8
PEOPLE = max(2, min(1_200, COUNTS["train"] // SHOTS))
HALF = PICTURE // 2
POOLED = 4
"""A recogniser looks at means of so many pixels across and down, a detector at four times as many."""
OPSET = 17
_ASTRAY = 1.5  # pixels of a picture of half the size by which a detector's points are wrong
_AT_ONCE = 24
_LARGE = 10_000  # weights


def shown() -> dict[str, Tensor]:
    """Portraits of people, SHOTS of each, small, and what is cut out of them; drawn once and written to disk.

    pictures (n, 3, 64, 64) and crops (n, 3, 28, 28) as bytes; points (n, 5, 2) and boxes (n, 4) in pixels of sketches.
    """

    def make() -> dict[str, Tensor]:
        torch.manual_seed(61)
        parts = [_portrayed(range(n, min(n + _AT_ONCE, PEOPLE * SHOTS))) for n in range(0, PEOPLE * SHOTS, _AT_ONCE)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    return kept("faces_shown", make)


def _portrayed(numbers: range) -> dict[str, Tensor]:
    portraits = [portrait(person(SERIES, n // SHOTS, unseen=n // SHOTS % 7 == 0), SERIES + 10, n) for n in numbers]
    drawn, places = draw(portraits, HALF), points(portraits, HALF)
    moved = places + torch.randn_like(places) * _ASTRAY
    levels = (drawn.movedim(1, -1) * 255).round()
    crops = torch.cat([align(picture, at[None], CROP) for picture, at in zip(levels, moved, strict=True)])
    head = torch.tensor([[*one.centre, one.person.width * one.radius, one.radius] for one in portraits])
    return {
        "pictures": avg_pool2d(levels.movedim(-1, 1), 2).round().byte(),
        "crops": (avg_pool2d(crops.movedim(-1, 1), POOLED) * 255).round().byte(),
        "points": places * (SIDE / HALF),
        "boxes": torch.cat([head[:, :2] - head[:, 2:], head[:, :2] + head[:, 2:]], dim=1),
    }


def disturbed(x: Tensor) -> Tensor:
    """Pixels, 0 to 1, in other light and with noise, as models draw them."""
    light = 1 + 0.15 * torch.randn(len(x), 1, 1, 1)
    shift = 0.05 * torch.randn(len(x), 3, 1, 1)
    return (x * light + shift + 0.05 * torch.rand(len(x), 1, 1, 1) * torch.randn_like(x)).clamp(0, 1)


def convolved(a: int, b: int, stride: int = 1, spread: int = 1) -> list[nn.Module]:
    """A step of such a network; spread: pixels from one weight to the next."""
    return [nn.Conv2d(a, b, 3, stride, padding=spread, dilation=spread), nn.BatchNorm2d(b), nn.ReLU()]


def export(model: nn.Module, file: Path, example: Tensor, outputs: list[str], free: dict[int, str]) -> None:
    """Write a network as ONNX; free: the names of the input's axes of any length."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        (example,),
        str(file),
        dynamo=False,
        opset_version=OPSET,
        input_names=["input"],
        output_names=outputs,
        dynamic_axes={"input": free},
    )
    halve(file)


def halve(file: Path) -> None:
    """Store the large weights of a network in half precision, as those of others are; it casts them when it runs."""
    network = onnx.load(file)
    graph = network.graph
    for weight in [one for one in graph.initializer if math.prod(one.dims) >= _LARGE]:
        half, name = numpy_helper.to_array(weight).astype(np.float16), weight.name
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    onnx.save(network, file)

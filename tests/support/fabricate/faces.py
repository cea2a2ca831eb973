"""Face networks that are small and real: a detector of red squares, a recogniser of anything, and pictures for both."""

from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import interpolate

OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime in use
STRIDES, ANCHORS = (8, 16, 32), 2
WINDOW = 15  # cells that an anchor sees, so that neighbours must be a few cells apart
SMALLEST, LARGEST = 4.0, 8.0  # sides of a face, in cells of the stride that finds it: 32 to 256 pixels in all
POINTS = np.array([[-0.25, -0.2], [0.25, -0.2], [0.0, 0.05], [-0.2, 0.25], [0.2, 0.25]])  # in sides, from the centre
SURE, LESS = 20.0, 0.9  # how steep the score is; that of the second anchor of a cell
CELLS, SIDE, WIDTH = 8, 112, 512  # of the recogniser
LENGTH = 20.0  # of its embeddings, about that of published networks

Size = int | str  # a name stands for any length


class Square(NamedTuple):
    """A face of the fabricated detector: a red square, by its upper left pixel and its side."""

    left: int
    top: int
    side: int

    @property
    def box(self) -> np.ndarray:
        """Left, top, right and bottom, where whole numbers are centres of pixels."""
        return np.array([self.left, self.top, self.left + self.side, self.top + self.side]) - 0.5

    @property
    def points(self) -> np.ndarray:
        """Eyes, nose and corners of the mouth, (5, 2)."""
        return self.box.reshape(2, 2).mean(axis=0) + POINTS * self.side


def picture(height: int, width: int, *faces: Square, seed: int = 0) -> torch.Tensor:
    """A grey picture (1, height, width, 3), 0..1, with faces; their blue, which the detector ignores, is their own."""
    drawn, generator = torch.full((1, height, width, 3), 0.5), torch.Generator().manual_seed(seed)
    for left, top, side in faces:
        place = drawn[0, top : top + side, left : left + side]
        looks = interpolate(torch.rand(1, 1, 4, 4, generator=generator), (side, side), mode="bicubic")[0, 0].clamp(0, 1)
        place.copy_(torch.stack([torch.ones_like(looks), torch.zeros_like(looks), looks], dim=-1))
    return (drawn * 255).round() / 255


def pack(folder: Path, seed: int = 0) -> Path:
    """A folder with both networks, and one that is neither."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in {"det.onnx": detector(), "rec.onnx": recogniser(seed), "2d106det.onnx": landmarks()}.items():
        onnx.save(model, folder / name)
    return folder


class Graph:
    """A network as it grows; every step returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def constant(self, *values: Any) -> str:
        """One number per channel, or an array as it is."""
        (first, *_) = values
        array = first if isinstance(first, np.ndarray) else np.reshape(values, (1, -1, 1, 1))
        name = f"weights{len(self.weights)}"
        self.weights[name] = np.asarray(array, np.int64 if array.dtype == np.int64 else np.float32)
        return name

    def __call__(self, operation: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        name = result or f"{operation}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name=f"node{len(self.nodes)}", **attributes))
        return name

    def channels(self, name: str, first: int, last: int) -> str:
        """Some channels of a result."""
        starts, ends, axes = (self.constant(np.array([value], np.int64)) for value in (first, last, 1))
        return self("Slice", name, starts, ends, axes)

    def model(self, inputs: dict[str, tuple[Size, ...]], outputs: dict[str, tuple[Size, ...]]) -> onnx.ModelProto:
        """The finished network, checked."""
        given, taken = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
            for values in (inputs, outputs)
        )
        weights = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "fabricated", given, taken, weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(made)
        return made


def recogniser(seed: int = 0, batch: Size = "batch", side: Size = SIDE) -> onnx.ModelProto:
    """Mean colours of 8x8 cells, and random weights over them."""
    graph, features = Graph(), 3 * CELLS * CELLS
    weights = np.random.default_rng(seed).normal(size=(features, WIDTH)) * LENGTH / sqrt(features * WIDTH)
    cells = graph("AveragePool", "input", kernel_shape=[SIDE // CELLS] * 2, strides=[SIDE // CELLS] * 2)
    graph("MatMul", graph("Flatten", cells), graph.constant(weights), result="embedding")
    return graph.model({"input": (batch, 3, side, side)}, {"embedding": (1, WIDTH)})  # as the published ones declare


def landmarks() -> onnx.ModelProto:
    """The inputs and outputs of insightface's network of 106 points, which packs carry and nothing here needs."""
    graph = Graph()
    features = graph("Flatten", graph("GlobalAveragePool", "data"))
    graph("MatMul", features, graph.constant(np.zeros((3, 212))), result="fc1")
    return graph.model({"data": ("batch", 3, 192, 192)}, {"fc1": ("batch", 212)})


def detector(points: bool = True, canvas: tuple[Size, Size] = ("height", "width")) -> onnx.ModelProto:
    """Finds red squares: centre and side of the red in a window around each cell. canvas: height and width."""
    graph, red = Graph(), np.array([1, -1, 0]).reshape(1, 3, 1, 1) * 128 / 255  # 0 for grey, 1 for red
    mask = graph("Relu", graph("Conv", "pixels", graph.constant(red)))
    widths = {"scores": 1, "boxes": 4} | ({"points": 10} if points else {})
    for stride in STRIDES:
        for name, found in zip(widths, _head(graph, mask, stride), strict=False):
            _flat(graph, found, widths[name], f"{name}{stride}")
    outputs: dict[str, tuple[Size, ...]] = {
        f"{name}{stride}": (f"cells{stride}", width) for name, width in widths.items() for stride in STRIDES
    }
    return graph.model({"pixels": (1, 3, *canvas)}, outputs)


def _head(graph: Graph, mask: str, stride: int) -> tuple[list[str], list[str], list[str]]:
    """Scores, box distances and point distances of one grid, in cells, for both anchors."""
    cell = graph("Conv", mask, graph.constant(_moments(stride)), strides=[stride, stride])
    window = graph("Conv", cell, graph.constant(_gathered()), pads=[WINDOW // 2] * 4)
    area = graph("Max", graph.channels(window, 0, 1), graph.constant(1e-6))
    centre, side = graph("Div", graph.channels(window, 1, 3), area), graph("Sqrt", area)
    score = _score(graph, graph.channels(cell, 0, 1), centre, side)
    half = graph("Mul", side, graph.constant(0.5))
    outward = graph("Concat", graph("Sub", half, centre), graph("Add", half, centre), axis=1)
    points = graph("Add", graph("Concat", *[centre] * 5, axis=1), graph("Mul", side, graph.constant(*POINTS.flat)))
    return [score, graph("Mul", score, graph.constant(LESS))], [outward] * ANCHORS, [points] * ANCHORS


def _score(graph: Graph, red: str, centre: str, side: str) -> str:
    """High for the cells next to the centre of a face of this grid's sizes."""
    far = graph("ReduceSum", graph("Abs", centre), graph.constant(np.array([1], np.int64)))
    near = graph("Sub", graph.constant(1.0), far)
    filled = graph("Sub", red, graph.constant(0.5))
    large = graph("Sub", side, graph.constant(SMALLEST))
    small = graph("Sub", graph.constant(LARGEST), side)
    return graph("Sigmoid", graph("Mul", graph("Min", near, filled, large, small), graph.constant(SURE)))


def _moments(stride: int) -> np.ndarray:
    """How much red is in a cell, and where: sums of x and y, in cells from its first pixel."""
    ones, place = np.ones((stride, stride)), np.arange(stride) / stride
    return np.stack([ones, ones * place, ones * place[:, None]])[:, None] / stride**2


def _gathered() -> np.ndarray:
    """The same of all cells of a window, from the first pixel of its middle cell."""
    ones, place = np.ones((WINDOW, WINDOW)), np.arange(WINDOW) - WINDOW // 2
    kernel = np.eye(3)[..., None, None] * ones
    kernel[1, 0], kernel[2, 0] = ones * place, ones * place[:, None]
    return kernel


def _flat(graph: Graph, anchors: list[str], width: int, result: str) -> None:
    """(1, anchors * width, rows, columns) -> (rows * columns * anchors, width)."""
    rows = graph("Transpose", graph("Concat", *anchors, axis=1), perm=[0, 2, 3, 1])
    graph("Reshape", rows, graph.constant(np.array([-1, width])), result=result)

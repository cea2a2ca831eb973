"""Graphs with one mistake each, made from what a server says of its nodes: whatever node there is takes part."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from live.graphs import Graph
from live.published import BASE, ENCODER

OURS = "IPA_"
PREVIEWS = "PreviewAny"
GROWS = "COMFY_AUTOGROW_V3"
LEFT_OUT = object()

Inputs = dict[str, Any]
Gives = Callable[[Graph], Any]

SURROGATES = ("\ud83d", "caf\udce9", "a\0b")
TEXTS = (*SURROGATES, "x" * 12_000, "'" * 3_000)
NUMBERS: tuple[Any, ...] = (float("nan"), -float("inf"), 2**70, "much", {})
CHOICES: tuple[Any, ...] = (*SURROGATES, TEXTS[3], "../../etc/passwd", 336, {})
LITERALS: tuple[Any, ...] = ("text", 5, {"a": 1})


def _loader(slot: int) -> Gives:
    return lambda graph: graph.add("CheckpointLoaderSimple", "loader", ckpt_name="tiny.safetensors")[slot]


def _text(graph: Graph) -> Any:
    return graph.add("CLIPTextEncode", "text", text="a red apple", clip=_loader(1)(graph))


def _sigmas(graph: Graph) -> Any:
    return graph.add("BasicScheduler", model=_loader(0)(graph), scheduler="normal", steps=3, denoise=1.0)


def _prompt(graph: Graph) -> Any:
    inputs = {name: GIVES[kind](graph) for name, kind in (("ip_adapter", "IP_ADAPTER"), ("image", "IMAGE"))}
    return graph.add("IPA_Encode", "prompt", **inputs, clip_vision=GIVES["CLIP_VISION"](graph), fit="center crop")


def _region(graph: Graph) -> Any:
    inputs: Inputs = {"weight": 1.0, "text_strength": 1.0, "start": 0.0, "end": 1.0, "unit": "percent"}
    return graph.add("IPA_Region", image_prompt=_prompt(graph), mask=GIVES["MASK"](graph), **inputs)


def _card(graph: Graph) -> Any:
    return graph.add("IPA_MoodboardPicture", "card", image=GIVES["IMAGE"](graph), role="all", strength=1.0)


GIVES: dict[str, Gives] = {
    "MODEL": _loader(0),
    "CLIP": _loader(1),
    "VAE": _loader(2),
    "CONDITIONING": _text,
    "LATENT": lambda graph: graph.add("EmptyLatentImage", "latent", width=64, height=64, batch_size=1),
    "IMAGE": lambda graph: graph.add("EmptyImage", "image", width=64, height=64, batch_size=1, color=255),
    "MASK": lambda graph: graph.add("SolidMask", "mask", value=1.0, width=64, height=64),
    "SIGMAS": _sigmas,
    "CLIP_VISION": lambda graph: graph.add("IPA_LoadVision", "tower", file=ENCODER, activation="auto"),
    "CONTROL_NET": lambda graph: graph.add("ControlNetLoader", control_net_name="tiny.safetensors"),
    "IP_ADAPTER": lambda graph: graph.add("IPA_LoadAdapter", "adapter", file=BASE),
    "IMAGE_PROMPT": _prompt,
    "FACE_FEATURES": lambda graph: graph.add("IPA_FaceEmbeds", "faces", file="me.npy"),
    "LAYER_WEIGHTS": lambda graph: graph.add(
        "IPA_LayerWeights", weight_type="linear", weight=1.0, second_weight=1.0, custom=""
    ),
    "WEIGHT_SCHEDULE": lambda graph: graph.add(
        "IPA_Schedule", shape="linear", start_value=1.0, end_value=0.0, unit="steps", points="", n=1
    ),
    "IMAGE_PROMPT_REGIONS": _region,
    "MOODBOARD_PICTURE": _card,
    "IMAGE_PROMPT_INSTRUCTION": lambda graph: graph.add(
        "IPA_Instruction", "told", clip=_loader(1)(graph), instruction="use the style", prompt="a red apple"
    ),
}
"""By the type of a socket, something that gives it; a new type of ours needs a row."""

BETTER: dict[str, Inputs] = {
    "IPA_LoadAdapter": {"file": BASE},
    "IPA_LoadVision": {"file": ENCODER},
    "IPA_EncodeFace": {
        "ip_adapter": lambda graph: graph.add("IPA_LoadAdapter", "face adapter", file="ip-adapter-faceid_sd15.bin")
    },
    "IPA_FaceEmbeds": {"file": "me.npy"},
    "IPA_Train": {"steps": 1, "dataset": "no pictures"},
    "IPA_Grid": {"across_values": "0, 1", "steps": 1},
}
"""Inputs of a good graph that are not what the menu begins with."""


@dataclass(frozen=True)
class Case:
    """A graph whose node `node` has one input that is wrong, or that may be: null where it is optional."""

    kind: str
    input: str
    given: Any
    graph: Graph
    same_as_left_out: bool = False

    def __str__(self) -> str:
        return f"{self.kind}.{self.input} = {str(self.given)[:40]!r}"


def nodes(described: dict[str, Any]) -> dict[str, Any]:
    """Our nodes among those that a server describes."""
    return {kind: node for kind, node in described.items() if kind.startswith(OURS)}


def good(kind: str, node: dict[str, Any], changes: Inputs | None = None) -> Graph:
    """A graph that runs the node `node` on what it requires, with other inputs where they are named."""
    graph = Graph()
    inputs = {}
    for name, spec in _sockets(node, "required"):
        inputs[name] = BETTER.get(kind, {}).get(name, _usual(spec))
    inputs |= changes or {}
    given = {name: value(graph) if callable(value) else value for name, value in inputs.items()}
    added = graph.add(kind, "node", **{name: value for name, value in given.items() if value is not LEFT_OUT})
    for slot in range(len(node["output"])):
        graph.add(PREVIEWS, f"out {slot}", source=added[slot])
    return graph


def cases(described: dict[str, Any]) -> Iterator[Case]:
    """Every wrong value of every input of our nodes."""
    for kind, node in nodes(described).items():
        for category in ("required", "optional"):
            for name, spec in _sockets(node, category):
                yield from _of_input(kind, node, name, spec, category == "optional")


def _sockets(node: dict[str, Any], category: str) -> Iterator[tuple[str, list[Any]]]:
    """The inputs of a node; of one that grows, the first socket, as prompts name it."""
    for name, spec in node["input"].get(category, {}).items():
        if spec[0] == GROWS:
            template = spec[1]["template"]
            (held,) = (held for sockets in template["input"].values() for held in sockets.values())
            yield f"{name}.{template['names'][0]}", held
        else:
            yield name, spec


def _of_input(kind: str, node: dict[str, Any], name: str, spec: list[Any], optional: bool) -> Iterator[Case]:
    socket = not _is_widget(spec)
    yield Case(kind, name, None, good(kind, node, {name: None}), optional and (socket or spec[0] == "STRING"))
    if not optional:
        yield Case(kind, name, LEFT_OUT, good(kind, node, {name: LEFT_OUT}))
    for value in _wrong(spec):
        yield Case(kind, name, value, good(kind, node, {name: value}))


def _wrong(spec: list[Any]) -> tuple[Any, ...]:
    wrong = {"FLOAT": NUMBERS, "INT": NUMBERS, "BOOLEAN": ({},), "STRING": (*TEXTS, {}), "COMBO": CHOICES}
    return CHOICES if isinstance(spec[0], list) else wrong.get(spec[0], LITERALS)


def _is_widget(spec: list[Any]) -> bool:
    return isinstance(spec[0], list) or spec[0] in ("FLOAT", "INT", "BOOLEAN", "STRING", "COMBO")


def _usual(spec: list[Any]) -> Any:
    kind, more = spec[0], spec[1] if len(spec) > 1 else {}
    if not _is_widget(spec):
        return GIVES[kind]
    options = kind if isinstance(kind, list) else more.get("options")
    return more.get("default", options[0] if options else "")

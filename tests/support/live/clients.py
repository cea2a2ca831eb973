"""Programs that ask a server for nodes of IPAdapter Plus: Krita AI Diffusion and SwarmUI, in their words.

What they read of /object_info, and the nodes of the prompts that they post, each with exactly the inputs that they
send. They bring pictures by nodes of their own, for which LoadImage stands here; and the fabricated encoder is of no
size that core's loader knows, so that ours loads it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from live.graphs import Graph, Node
from live.old_graphs import Hook, Values
from live.prompting import REFERENCE, load
from live.specimens import named

About = dict[str, Any]
"""The answer of /object_info."""


def encoder(graph: Graph) -> Node:
    """The node in the place of the programs' CLIPVisionLoader."""
    return graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")


# Krita AI Diffusion: ai_diffusion/backend, comfy_client.py, comfy_workflow.py, resources.py and workflow.py

KRITA_NEEDS = ("IPAdapterModelLoader", "IPAdapter")
"""Ids of the pack without which Krita does not connect."""

KRITA_TYPES = {"reference": "linear", "style": "style transfer", "composition": "composition"}
"""A control layer's mode -> the weight type that it is applied with."""


def krita_options(about: About, node: str, name: str) -> list[str]:
    """The words of a menu, of which Krita reads the required ones alone, in either form that ComfyUI writes."""
    kind, *more = about[node]["input"]["required"].get(name, [None])
    if kind == "COMBO":
        return list(more[0]["options"])
    return kind if isinstance(kind, list) else []


def krita_file(names: Iterable[str], patterns: Iterable[str]) -> str | None:
    """The file that Krita takes: of those whose path has a pattern in it, the shortest of the first pattern."""
    found = [
        (place * 100 + len(name), name)
        for place, pattern in enumerate(patterns)
        for name in names
        if pattern in name.replace("\\", "/").lower()
    ]
    return min(found)[1] if found else None


@dataclass(frozen=True)
class Krita:
    """Krita's nodes on a model; it fills in what else a node requires from what it has read of the server."""

    about: About

    def _add(self, graph: Graph, node: str, **inputs: Any) -> Node:
        return graph.add(node, **(self._defaults(node) | inputs))

    def _defaults(self, node: str) -> Values:
        required = self.about[node]["input"]["required"]
        defaults = {name: _default(*spec) for name, spec in required.items()}
        return {name: value for name, value in defaults.items() if value is not None}

    def references(
        self,
        strengths: dict[str, float],
        file: str = "base",
        mode: str = "reference",
        span: tuple[float, float] = (0.0, 1.0),
        mask: Hook | None = None,
    ) -> Hook:
        """A hook: layers of one mode, each a picture with its strength, encoded apart and applied once."""

        def hook(graph: Graph, model: Any) -> Node:
            tower = encoder(graph)
            adapter = self._add(graph, "IPAdapterModelLoader", ipadapter_file=named(f"{file}.safetensors"))
            each = [self._encoded(graph, *layer, adapter, tower) for layer in strengths.items()]
            return self._add(
                graph,
                "IPAdapterEmbeds",
                model=model,
                ipadapter=adapter,
                pos_embed=self._combined(graph, each),
                clip_vision=tower,
                weight=1.0,
                weight_type=KRITA_TYPES[mode],
                embeds_scaling="V only",
                start_at=min(0.99, span[0]),
                end_at=max(0.01, span[1]),
                attn_mask=mask(graph, model) if mask else None,
            )

        return hook

    def _encoded(self, graph: Graph, image: str, strength: float, adapter: Node, tower: Node) -> Node:
        links = {"image": load(graph, image), "ipadapter": adapter, "clip_vision": tower}
        return self._add(graph, "IPAdapterEncoder", weight=strength, **links)

    def _combined(self, graph: Graph, each: list[Node]) -> Node:
        if len(each) == 1:
            return each[0]
        embeds = {f"embed{number}": embed for number, embed in enumerate(each, start=1)}
        return self._add(graph, "IPAdapterCombineEmbeds", method="concat", **embeds)

    def face(self, image: str, kind: str, strength: float = 1.0) -> Hook:
        """A hook: a face layer."""

        def hook(graph: Graph, model: Any) -> Node:
            return self._add(
                graph,
                "IPAdapterFaceID",
                model=model,
                ipadapter=self._add(graph, "IPAdapterModelLoader", ipadapter_file=named(f"{kind}.bin")),
                image=load(graph, image),
                clip_vision=encoder(graph),
                insightface=self._add(graph, "IPAdapterInsightFaceLoader", provider="CPU", model_name="buffalo_l"),
                weight=strength,
                weight_faceidv2=strength * 2,
                weight_type="linear",
                combine_embeds="concat",
                start_at=0.0,
                end_at=1.0,
                attn_mask=None,
                embeds_scaling="V only",
            )

        return hook


def _default(kind: Any, more: Values | None = None) -> Any:
    stated = (more or {}).get("default")
    if stated is None and isinstance(kind, list) and kind:
        return kind[0]
    return {"INT": 0, "FLOAT": 0.0, "STRING": ""}.get(str(kind)) if stated is None else stated


# SwarmUI: src/BuiltinExtensions/ComfyUIBackend, ComfyUIBackendExtension.cs and WorkflowGeneratorSteps.cs

SWARM_FEATURES = {
    "IPAdapter": "ipadapter",
    "IPAdapterApply": "ipadapter",
    "IPAdapterModelLoader": "cubiqipadapter",
    "IPAdapterUnifiedLoader": "cubiqipadapterunified",
}
"""An id -> what SwarmUI can do where the server has it."""


def swarm_features(about: About) -> set[str]:
    """What SwarmUI turns on."""
    return {feature for node, feature in SWARM_FEATURES.items() if node in about}


def swarm_models(about: About) -> list[str]:
    """The menu of adapters that SwarmUI makes: presets, and files behind a word."""
    presets = (
        _first_list(about, node, "preset") for node in ("IPAdapterUnifiedLoader", "IPAdapterUnifiedLoaderFaceID")
    )
    files = _first_list(about, "IPAdapterModelLoader", "ipadapter_file")
    return [*(preset for menu in presets for preset in menu), *(f"file:{file}" for file in files)]


def swarm_weight_types(about: About) -> list[str]:
    """Its menu of weight types: the simple node's, and only where it is written in ComfyUI's first form."""
    return list(about["IPAdapter"]["input"]["required"]["weight_type"][0])


def _first_list(about: About, node: str, name: str) -> list[str]:
    for part in about[node]["input"]["required"][name]:
        found = part.get("options") if isinstance(part, dict) else part
        if isinstance(found, list):
            return found
    return []


def swarm(chosen: str, image: str = REFERENCE, weight: float = 1, weight_type: str = "standard") -> Hook:
    """A hook: an entry of SwarmUI's menu of adapters."""

    def hook(graph: Graph, model: Any) -> Node:
        picture = load(graph, image)
        span: Values = {"start_at": 0.0, "end_at": 1.0}
        if chosen.startswith("file:"):
            loader = graph.add("IPAdapterModelLoader", ipadapter_file=chosen.removeprefix("file:"))
            words = {"weight_type": _SWARM_ADVANCED.get(weight_type, weight_type), "combine_embeds": "concat"}
            links = {"model": model, "ipadapter": loader, "image": picture, "clip_vision": encoder(graph)}
            return graph.add("IPAdapterAdvanced", **links, weight=weight, **span, **words, embeds_scaling="V only")
        loader = _swarm_loader(graph, model, chosen)
        links = {"model": loader, "ipadapter": loader[1], "image": picture}
        return graph.add("IPAdapter", **links, weight=weight, **span, weight_type=weight_type)

    return hook


_SWARM_ADVANCED = {"standard": "linear", "prompt is more important": "ease out"}


def _swarm_loader(graph: Graph, model: Any, preset: str) -> Node:
    if preset.lower().startswith("faceid"):
        values: Values = {"lora_strength": 0.6, "provider": "CPU"}
        return graph.add("IPAdapterUnifiedLoaderFaceID", model=model, preset=preset, **values)
    return graph.add("IPAdapterUnifiedLoader", model=model, preset=preset)


def swarm_of_2023(graph: Graph, model: Any) -> Node:
    """What SwarmUI sends to a pack of before version 2."""
    loader = graph.add("IPAdapterModelLoader", ipadapter_file=named("base.safetensors"))
    links = {"ipadapter": loader, "model": model, "image": load(graph, REFERENCE), "clip_vision": encoder(graph)}
    return graph.add("IPAdapterApply", **links, weight=1, noise=0, weight_type="original")


def swarm_of_the_other_pack(graph: Graph, model: Any) -> Node:
    """What SwarmUI sends to the pack of laksjdjf, which had the id IPAdapter for another node."""
    links = {"model": model, "image": load(graph, REFERENCE), "clip_vision": encoder(graph)}
    return graph.add("IPAdapter", **links, weight=1, model_name=named("base.safetensors"), dtype="fp16")

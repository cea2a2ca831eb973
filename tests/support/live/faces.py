"""Face networks, adapters that read faces, and pictures with faces, on a server; and the steps from one to a MODEL."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from fabricate.adapters import KINDS, tiny_adapter
from fabricate.faces import Square, pack, picture
from fabricate.towers import tiny_eva
from live import specimens
from live.graphs import Graph, Node
from live.kinds import OF_FACES, OF_PULID
from live.server import Server
from live.specimens import named

ONE, TWO, NONE = "one_face.png", "two_faces.png", "no_face.png"
FACES = {ONE: [Square(200, 150, 60)], TWO: [Square(40, 60, 60), Square(400, 40, 70)], NONE: []}
FILES: dict[str, specimens.Fabricate] = {
    **{f"ipadapter/{kind}.bin": partial(tiny_adapter, seed=7, **KINDS[kind]) for kind in OF_FACES},
    "insightface/pack": pack,
    "clip_vision/eva.safetensors": tiny_eva,
}


def stock(server: Server) -> Server:
    """Give a server the specimens and the pictures that these graphs name."""
    specimens.add(server.base / "models", specimens.GOOD | FILES)
    for seed, (name, faces) in enumerate(FACES.items()):
        server.upload(name, (picture(480, 640, *faces, seed=seed)[0] * 255).byte().numpy())
    return server


@dataclass(frozen=True)
class Faced:
    """A model hook: the model follows faces."""

    kind: str = "FaceID"
    image: str = ONE
    which: str = "largest"
    weight: float = 1.0
    lora: float = 1.0
    shortcut: float = 1.0

    def __call__(self, graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPA_LoadAdapter", "adapter", file=named(f"{self.kind}.bin"), variant="auto")
        inputs = {"ip_adapter": adapter, "faces": self.faces(graph), "shortcut": self.shortcut}
        if tower := self.tower:
            inputs["clip_vision"] = graph.add("IPA_LoadVision", file=named(tower), activation="auto")
        prompt = graph.add("IPA_EncodeFace", "encode", **inputs)
        span = {"start": 0.0, "end": 1.0, "unit": "percent", "lora_strength": self.lora, "skip_middle_block": False}
        return graph.add("IPA_Apply", "apply", model=model, image_prompt=prompt, weight=self.weight, **span)

    @property
    def tower(self) -> str:
        """The file of the encoder that the kind reads, empty where it reads none."""
        return "eva.safetensors" if self.kind in OF_PULID else "tower.safetensors" * ("Plus" in self.kind)

    def faces(self, graph: Graph) -> Node:
        """The step that finds them."""
        image = graph.add("LoadImage", image=self.image)
        wish = {"model": named("pack"), "faces": self.which, "index": 0, "backend": "auto"}
        return graph.add("IPA_Face", "face", image=image, **wish)

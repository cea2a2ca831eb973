"""The nodes of ComfyUI_InstantID make what that pack computed, written here a second time, without its code."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, scaled_dot_product_attention

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.compat.instantid import SIGNATURES
from control_nets import Sides, network, texts_for
from fabricate import adapters, faces
from fabricate.adapters import KINDS
from fabricate.faces import Square, picture
from sampled import difference, sample
from twins import Twins

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

HEIGHT, WIDTH = 200, 300
FACE, OTHER, NOBODY = (picture(HEIGHT, WIDTH, *faces, seed=seed) for seed, faces in enumerate([
    [Square(60, 50, 60)], [Square(170, 90, 70), Square(20, 20, 40)], []
]))  # fmt: skip
LEFT = torch.zeros(1, 64, 64)
LEFT[:, :, :32] = 1
ROUNDING = 2e-5
ACTS = 2e-3  # above which a picture is another one


class Given:
    """What the nodes get, and the tensors of the adapter's file."""

    def __init__(self, folder: Path) -> None:
        from comfyui_ip_adapter.nodes.host import adapters as host
        from comfyui_ip_adapter.nodes.host import faces as host_faces
        from comfyui_ip_adapter.nodes.host.faces import BACKENDS, _pack

        self.twins = Twins("SDXL")
        widths = tuple(block.to_q.in_features for _, block in self.blocks())
        nested = adapters.adapter(widths=widths, context=self.twins.context, **KINDS["portrait unnorm"])
        file = adapters.save(folder / "ip-adapter.safetensors", nested)
        self.layers = nested["ip_adapter"]
        self.network = load(file)
        self.adapter = host.read(file.name, file)
        self.reader = BACKENDS["onnxruntime"].reader(_pack(faces.pack(folder / "pack")), ["CPUExecutionProvider"])
        self.find = host_faces.find
        self.control = network(self.twins, 1)
        self.outlines = network(self.twins, 2)
        self.texts = texts_for(self.twins.context)

    def blocks(self) -> list[tuple[tuple[str, int, int], Any]]:
        """Each cross-attention in the order of the file, by the name that ComfyUI's patches have for it."""
        found = []
        for name, module in self.twins.patcher.model.diffusion_model.named_modules():
            if name.endswith("attn2"):
                stage, number, *_, index, _attn2 = name.split(".")
                found.append(((stage.split("_")[0], 0 if "middle" in stage else int(number), int(index)), module))
        return sorted(found, key=lambda one: (["input", "output", "middle"].index(one[0][0]), *one[0][1:]))

    def embedding(self, *pictures: Tensor) -> Tensor:
        """What the recogniser says of the largest face of each picture."""
        levels = [(one[0] * 255).round().byte() for one in pictures]
        return torch.cat([self.reader.embed(one, self.reader.detect(one).largest()) for one in levels])

    def tokens(self, embedding: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network.tokens(embedding)


@pytest.fixture(scope="module")
def given(comfy: None, tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("instantid"))


def run(node: str, **inputs: Any) -> tuple[Any, ...]:
    """What a node gives."""
    from comfyui_ip_adapter.nodes.compat.classes import OLD_NODES

    made = OLD_NODES["ComfyUI_InstantID"].classes[node]
    found: tuple[Any, ...] = getattr(made(), made.FUNCTION)(**inputs)  # type: ignore[attr-defined]
    return found


def following(
    given: Given, sides: tuple[Tensor, Tensor], weight: float, *, middle: bool, span: Any = (0.0, 1.0), mask: Any = None
) -> Any:
    """The model with the pack's attention: what the text gives, and the weight times what the face tokens give."""
    clone = given.twins.patcher.clone()
    sampling = clone.get_model_object("model_sampling")
    first, last = (sampling.percent_to_sigma(percent) for percent in span)

    def patch(number: int) -> Any:
        keys, values = (given.layers[f"{2 * number + 1}.to_{name}_ip.weight"] for name in "kv")

        def attend(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
            out = attention(q, k, v, extra["n_heads"])
            if not last <= extra["sigmas"][0].item() <= first:
                return out
            order, frames = extra["cond_or_uncond"], len(q) // len(extra["cond_or_uncond"])
            read = torch.cat([sides[side].reshape(1, -1, keys.shape[1]).expand(frames, -1, -1) for side in order])
            added = weight * attention(q, read @ keys.T, read @ values.T, extra["n_heads"])
            return out + added * grid(mask, q, extra) if mask is not None else out + added

        return attend

    for number, (name, _) in enumerate(given.blocks()):
        if middle or name[0] != "middle":
            clone.set_model_attn2_replace(patch(number), *name)
    return clone


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    apart = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return scaled_dot_product_attention(*apart).transpose(1, 2).flatten(-2)


def grid(mask: Tensor, q: Tensor, extra: dict[str, Any]) -> Tensor:
    """A mask over the places of a layer, (1, places, 1)."""
    height, width = extra["original_shape"][-2:]
    shrink = round((height * width / q.shape[1]) ** 0.5)
    return interpolate(mask[:, None], size=(height // shrink, width // shrink), mode="bilinear").flatten()[
        None, :, None
    ]


def controlled(
    sides: Sides, net: Any, tokens: tuple[Tensor, Tensor], hint: Tensor, strength: float, mask: Any = None
) -> Sides:
    """The texts with core's node, the tokens where all ControlNets read them, and the mask on the positive one."""
    from nodes import ControlNetApplyAdvanced

    made = ControlNetApplyAdvanced().apply_controlnet(*sides, net, hint, strength, 0.0, 1.0)
    if strength == 0:
        return made
    limits = {} if mask is None else {"mask": mask, "set_area_to_bounds": False}
    return tuple(  # type: ignore[return-value]
        [[text, {**more, "cross_attn_controlnet": read, **limit}] for text, more in side]
        for side, read, limit in zip(made, tokens, (limits, {}), strict=True)
    )


def drawn(model: Any, sides: Sides) -> Tensor:
    return sample(model, positive=sides[0], negative=sides[1])


def whole(given: Given, **more: Any) -> dict[str, Any]:
    """The inputs of *Apply InstantID* that are always connected."""
    positive, negative = given.texts
    return {
        "instantid": given.adapter,
        "insightface": given.reader,
        "control_net": given.control,
        "image": FACE,
        "model": given.twins.patcher,
        "positive": positive,
        "negative": negative,
        **more,
    }


def points(given: Given, image: Tensor) -> Tensor:
    (key_points,) = run("FaceKeypointsPreprocessor", faceanalysis=given.reader, image=image)
    return key_points


def negative_noise(embedding: Tensor, noise: float) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(embedding.sum().item()) % 1000000007)
        return noise * torch.rand_like(embedding)


@pytest.mark.parametrize(("mask", "span"), [(None, (0.0, 1.0)), (LEFT, (0.0, 1.0)), (None, (0.3, 0.7))])
def test_apply_instantid(given: Given, mask: Any, span: tuple[float, float]) -> None:
    """Noise 0.35, the middle block left out, one weight for both halves, the mask on the text too."""
    model, positive, negative = run(
        "ApplyInstantID", **whole(given, weight=0.9, start_at=span[0], end_at=span[1], mask=mask)
    )
    embedding = given.embedding(FACE)
    sides = given.tokens(embedding), given.tokens(negative_noise(embedding, 0.35))
    wanted = following(given, sides, 0.9, middle=False, span=span, mask=mask)
    texts = controlled(given.texts, given.control, sides, points(given, FACE), 0.9, mask)
    for side in texts:
        for _, more in side:
            more["control"].timestep_percent_range = span
    found = drawn(model, (positive, negative))
    assert difference(found, drawn(wanted, texts)) < ROUNDING
    assert difference(found, drawn(wanted, given.texts)) > ACTS
    assert difference(found, drawn(given.twins.patcher, texts)) > ACTS
    assert difference(found, drawn(following(given, sides, 0.9, middle=True, span=span, mask=mask), texts)) > ROUNDING


@pytest.mark.parametrize("combine", ["average", "norm average", "concat"])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_apply_instantid_advanced(given: Given, combine: str, noise: float) -> None:
    """Two faces, two weights, noise by choice; the points of another picture."""
    both = {"image": torch.cat([FACE, OTHER]), "image_kps": OTHER, "combine_embeds": combine, "noise": noise}
    model, *found = run("ApplyInstantIDAdvanced", **whole(given, ip_weight=1.5, cn_strength=0.5, **both))
    raw = given.embedding(FACE, OTHER)
    embedding = {"average": raw.mean(0)[None], "norm average": (raw / raw.norm(dim=0)).mean(0)[None], "concat": raw}[
        combine
    ]
    sides = given.tokens(embedding), given.tokens(negative_noise(embedding, noise))
    texts = controlled(given.texts, given.control, sides, points(given, OTHER), 0.5)
    wanted = drawn(following(given, sides, 1.5, middle=False), texts)
    assert difference(drawn(model, (found[0], found[1])), wanted) < ROUNDING


def test_the_two_halves_apart(given: Given) -> None:
    """The middle block follows too, and the ControlNet of another node of the chain reads the face tokens as well."""
    face = {"instantid": given.adapter, "insightface": given.reader, "image": FACE, "model": given.twins.patcher}
    model, embeds = run("InstantIDAttentionPatch", **face, weight=1.0, start_at=0.0, end_at=1.0, noise=0.2)
    hint = points(given, FACE)
    before = controlled_by_core(given.texts, given.outlines)
    positive, negative = run(
        "ApplyInstantIDControlNet",
        **{"face_embeds": embeds, "control_net": given.control, "image_kps": hint, "strength": 0.6},
        **{"positive": before[0], "negative": before[1], "start_at": 0.0, "end_at": 1.0},
    )
    embedding = given.embedding(FACE)
    sides = given.tokens(embedding), given.tokens(negative_noise(embedding, 0.2))
    texts = controlled(before, given.control, sides, hint, 0.6)
    assert (
        difference(drawn(model, (positive, negative)), drawn(following(given, sides, 1.0, middle=True), texts))
        < ROUNDING
    )
    given_back = run(
        "ApplyInstantIDControlNet", face_embeds=embeds, control_net=given.control, image_kps=hint,
        positive=positive, negative=negative, strength=0.0, start_at=0.0, end_at=1.0,
    )  # fmt: skip
    assert given_back == (positive, negative)


def controlled_by_core(sides: Sides, net: Any) -> Sides:
    from nodes import ControlNetApplyAdvanced

    made: Sides = ControlNetApplyAdvanced().apply_controlnet(*sides, net, FACE, 0.5, 0.0, 1.0)
    return made


def test_weight_zero_is_the_model_itself(given: Given) -> None:
    face = {"instantid": given.adapter, "insightface": given.reader, "image": FACE, "model": given.twins.patcher}
    assert (
        run("InstantIDAttentionPatch", **face, weight=0.0, start_at=0.0, end_at=1.0, noise=0.0)[0]
        is given.twins.patcher
    )
    assert run("ApplyInstantID", **whole(given, weight=0.0))[0] is given.twins.patcher


def test_key_points_are_those_of_the_largest_face_of_each_picture_that_has_one(given: Given) -> None:
    found = points(given, torch.cat([FACE, NOBODY, OTHER]))
    assert found.shape == (2, HEIGHT, WIDTH, 3)
    left_eye = found[1][int(90 + 35 - 0.2 * 70), int(170 + 35 - 0.25 * 70)]
    assert left_eye.tolist() == [1, 0, 0]
    assert not found[1][:, :150].any()  # where the smaller face is


def test_without_a_face_the_key_points_are_black_or_the_picture_that_was_meant_for_them(given: Given) -> None:
    assert not points(given, NOBODY).any()
    ready = points(given, FACE)
    texts = run("ApplyInstantID", **whole(given, image_kps=ready))[1]
    assert torch.equal(texts[0][1]["control"].cond_hint_original, ready.movedim(-1, 1))
    texts = run("ApplyInstantID", **whole(given, image=torch.cat([NOBODY, FACE])))[1]
    assert not texts[0][1]["control"].cond_hint_original.any()


def test_a_picture_without_a_face_and_what_is_no_instantid_are_refused(given: Given) -> None:
    with pytest.raises(ValueError, match="no face was found"):
        run("ApplyInstantID", **whole(given, image=NOBODY))
    with pytest.raises(ValueError, match=r"^Connect instantid to Load InstantID Model; found a dict\."):
        run("ApplyInstantID", **whole(given, instantid={}))


@pytest.mark.parametrize("taken", [(), ("ApplyInstantID",)])
def test_the_ids_are_taken_where_no_other_pack_has_one_of_them(
    comfy: None, monkeypatch: pytest.MonkeyPatch, taken: tuple[str, ...]
) -> None:
    from server import PromptServer

    import nodes
    from comfyui_ip_adapter.nodes.compat import registration

    started: list[Any] = []
    routes = SimpleNamespace(post=lambda path: lambda answer: answer)
    server = SimpleNamespace(
        app=SimpleNamespace(on_startup=started), routes=routes, add_on_prompt_handler=lambda handler: None
    )
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict.fromkeys(taken, object))
    monkeypatch.setattr(nodes, "NODE_DISPLAY_NAME_MAPPINGS", {})
    registration.register()
    for start in started:
        asyncio.run(start(server.app))
    assert nodes.NODE_CLASS_MAPPINGS.keys() & SIGNATURES.keys() == (set(taken) or SIGNATURES.keys())
    assert "IPAdapterAdvanced" in nodes.NODE_CLASS_MAPPINGS

"""InstantID's ControlNet in ComfyUI's samplers: it reads the face tokens, the others of its chain read the text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.control import ControlTokens, control_tokens
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from control_nets import SIDES, Sides, network, texts_for
from fabricate import adapters
from fabricate.adapters import KINDS
from sampled import noise, sample
from twins import Twins

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

PICTURE = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(4))
LEFT = torch.zeros(1, 64, 64)
LEFT[:, :, :32] = 1


@pytest.fixture(scope="module")
def sdxl(comfy: None) -> Twins:
    return Twins("SDXL")


@pytest.fixture(scope="module")
def identity_net(sdxl: Twins) -> Any:
    return network(sdxl, 1)


@pytest.fixture(scope="module")
def outlines(sdxl: Twins) -> Any:
    """Another ControlNet of the chain."""
    return network(sdxl, 2)


@pytest.fixture(scope="module")
def face(sdxl: Twins, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], ImagePrompt]:
    """The prompt of a face, by its seed."""
    nested = adapters.adapter(widths=(32,), context=sdxl.context, **KINDS["portrait unnorm"])
    path = adapters.save(tmp_path_factory.mktemp("adapters") / "ip-adapter.safetensors", nested)
    instant_id = load(path)

    def prompt(seed: int) -> ImagePrompt:
        raw = 20 * torch.randn(1, 512, generator=torch.Generator().manual_seed(seed))
        return image_prompt(instant_id, (raw,), (torch.zeros(1, 512),))

    return prompt


@pytest.fixture
def texts(sdxl: Twins) -> Sides:
    return texts_for(sdxl.context)


def apply(sides: Sides, net: Any, prompt: ImagePrompt, **how: Any) -> Sides:
    from comfyui_ip_adapter.nodes.host import face_control

    given: Sides = face_control.apply(*sides, net, prompt, face_control.Hint(**{"picture": PICTURE, **how}))
    return given


def stock(sides: Sides, net: Any, strength: float = 1.0, start: float = 0.0, end: float = 1.0) -> Sides:
    from nodes import ControlNetApplyAdvanced

    given: Sides = ControlNetApplyAdvanced().apply_controlnet(*sides, net, PICTURE, strength, start, end)
    return given


def by_the_hosts_own_way(sides: Sides, net: Any, tokens: ControlTokens, **how: Any) -> Sides:
    """Core's node, and its place in a cond for what all ControlNets of a chain read."""
    positive, negative = stock(sides, net, **how)
    return tuple(  # type: ignore[return-value]
        [[text, {**more, "cross_attn_controlnet": side}] for text, more in conditioning]
        for conditioning, side in ((positive, tokens.cond), (negative, tokens.uncond))
    )


def picture(sdxl: Twins, sides: Sides, **how: Any) -> Tensor:
    return sample(sdxl.patcher, positive=sides[0], negative=sides[1], **how)


def read_by(net: Any, run: Callable[[], object]) -> list[Tensor]:
    """What a ControlNet reads in place of texts, in each call of a run."""
    seen: list[Tensor] = []
    hook = net.control_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["context"]), with_kwargs=True
    )
    with hook:
        run()
    assert seen
    return seen


def rows(contexts: list[Tensor]) -> list[Tensor]:
    """Every different row of what was read."""
    found: list[Tensor] = []
    for row in torch.cat(contexts):
        if not any(torch.equal(row, known) for known in found):
            found.append(row)
    return found


def same_rows(contexts: list[Tensor], *wanted: Tensor) -> bool:
    found = rows(contexts)
    return len(found) == len(wanted) and all(any(torch.equal(row, one[0]) for row in found) for one in wanted)


def test_it_reads_the_face_tokens_of_each_side_and_the_picture_is_that_of_the_hosts_own_way(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    tokens = control_tokens(face(1))
    given = apply(texts, identity_net, face(1), strength=0.8)
    assert same_rows(read_by(identity_net, lambda: picture(sdxl, given)), *tokens)
    drawn, plain = picture(sdxl, given), picture(sdxl, texts)
    assert torch.equal(drawn, picture(sdxl, by_the_hosts_own_way(texts, identity_net, tokens, strength=0.8)))
    assert not torch.equal(drawn, plain)
    assert not torch.equal(drawn, picture(sdxl, stock(texts, identity_net, 0.8)))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.4), (0.4, 1.0), (0.3, 0.7)])
def test_start_and_end_are_as_in_the_hosts_node(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides, start: float, end: float
) -> None:
    span = {"start": start, "end": end}
    reference = by_the_hosts_own_way(texts, identity_net, control_tokens(face(1)), **span)
    drawn = picture(sdxl, apply(texts, identity_net, face(1), **span))
    assert torch.equal(drawn, picture(sdxl, reference))
    assert not torch.equal(drawn, picture(sdxl, apply(texts, identity_net, face(1))))


def test_strength_zero_gives_back_what_it_was_given(
    identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    positive, negative = apply(texts, identity_net, face(1), strength=0.0)
    assert positive is texts[0]
    assert negative is texts[1]


def test_what_was_given_is_not_changed(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    before, kind = picture(sdxl, texts), type(identity_net)
    given = apply(texts, identity_net, face(1))
    assert "control" not in texts[0][0][1]
    assert given[0][0][1]["mine"] == SIDES[0]
    assert type(identity_net) is kind
    assert identity_net.cond_hint_original is None
    assert torch.equal(picture(sdxl, texts), before)


@pytest.mark.parametrize("last", [True, False])
def test_another_controlnet_of_the_chain_acts_too_and_reads_the_text(
    sdxl: Twins, identity_net: Any, outlines: Any, face: Callable[[int], ImagePrompt], texts: Sides, last: bool
) -> None:
    def chained(sides: Sides) -> Sides:
        if last:
            return apply(stock(sides, outlines), identity_net, face(1))
        return stock(apply(sides, identity_net, face(1)), outlines)

    given = chained(texts)
    assert same_rows(read_by(outlines, lambda: picture(sdxl, given)), texts[0][0][0], texts[1][0][0])
    assert same_rows(read_by(identity_net, lambda: picture(sdxl, given)), *control_tokens(face(1)))


def test_what_a_chain_adds_is_the_sum_of_what_each_network_says(
    sdxl: Twins, identity_net: Any, outlines: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    tokens = control_tokens(face(1))
    given = apply(stock(texts, outlines, 0.5), identity_net, face(1), strength=0.25)
    (_, more) = given[0][0]
    found, x, t, y = added(sdxl, more, texts[0][0][0], tokens.cond)
    sampling = sdxl.patcher.model.model_sampling
    hint = PICTURE.movedim(-1, 1)
    inputs = {"x": sampling.calculate_input(t, x), "hint": hint, "timesteps": sampling.timestep(t), "y": y}
    of_face = identity_net.control_model(**inputs, context=tokens.cond)
    of_outlines = outlines.control_model(**inputs, context=texts[0][0][0])
    for stage, wanted in of_face.items():
        for one, mine, other in zip(found[stage], wanted, of_outlines[stage], strict=True):
            torch.testing.assert_close(one, 0.25 * mine + 0.5 * other)


def added(sdxl: Twins, more: dict[str, Any], text: Tensor, tokens: Tensor) -> tuple[Any, Tensor, Tensor, Tensor]:
    """What the ControlNets of a cond add to a call of one row, and the call's latent, noise level and vector."""
    control = more["control"]
    x, t = noise(), torch.tensor([3.0])
    conds = {name: value.cond for name, value in more["model_conds"].items()}
    control.pre_run(sdxl.patcher.model, sdxl.patcher.model.model_sampling.percent_to_sigma)
    found = control.get_control(x, t, {"c_crossattn": text, **conds}, 1, {})
    control.cleanup()
    assert any(torch.equal(value, tokens) for value in conds.values())
    return found, x, t, conds["y"]


def test_two_faces_have_their_own_tokens_in_one_chain(
    sdxl: Twins, identity_net: Any, outlines: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    given = apply(apply(texts, identity_net, face(1), mask=LEFT), outlines, face(2), mask=1 - LEFT)
    for net, seed in ((identity_net, 1), (outlines, 2)):
        assert same_rows(read_by(net, lambda: picture(sdxl, given)), *control_tokens(face(seed)))


def test_names_of_tokens_are_the_same_in_every_run(
    identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    one, again = (list(apply(texts, identity_net, face(1))[0][0][1]["model_conds"]) for _ in "12")
    assert one == again


def test_where_the_mask_is_black_nothing_is_added(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    tokens = control_tokens(face(1))
    (masked, *_), (whole, *_) = (
        added(sdxl, apply(texts, identity_net, face(1), mask=mask)[0][0][1], texts[0][0][0], tokens.cond)
        for mask in (LEFT, None)
    )
    for stage, parts in whole.items():
        for part, kept in zip(parts, masked[stage], strict=True):
            half = part.shape[-1] // 2
            assert torch.equal(kept[..., :half], part[..., :half])
            assert not kept[..., half:].any()
            assert part[..., half:].any()


def test_a_white_mask_is_no_mask_and_each_frame_has_its_own(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    def frames(mask: Tensor | None) -> Tensor:
        return picture(sdxl, apply(texts, identity_net, face(1), mask=mask), given=noise(2))

    everywhere, white = frames(None), frames(torch.ones(1, 8, 8))
    assert torch.equal(everywhere, white)
    torch.testing.assert_close(frames(torch.cat([LEFT, torch.ones_like(LEFT)]))[1], everywhere[1])
    torch.testing.assert_close(frames(torch.cat([LEFT, torch.ones_like(LEFT)]))[0], frames(LEFT)[0])


def test_a_copy_that_other_packs_make_reads_the_same(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    given = apply(texts, identity_net, face(1), mask=LEFT)
    copied = given[0][0][1]["control"].copy()
    again: Sides = tuple([[text, {**more, "control": copied}] for text, more in side] for side in given)  # type: ignore[assignment]
    assert torch.equal(picture(sdxl, again), picture(sdxl, given))
    if hasattr(copied, "deepclone_multigpu"):  # from ComfyUI 0.24 on
        assert type(copied.deepclone_multigpu(torch.device("cpu"))) is type(copied)


def test_a_side_without_its_tokens_is_told(
    sdxl: Twins, identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    control = apply(texts, identity_net, face(1))[0][0][1]["control"]
    lost = [[text, {**more, "control": control}] for text, more in texts[1]]
    with pytest.raises(ValueError, match=r"^Connect both positive and negative of Apply InstantID ControlNet"):
        picture(sdxl, (texts[0], lost))


def test_a_controlnet_for_other_models_is_refused_naming_both(
    sdxl: Twins, face: Callable[[int], ImagePrompt], texts: Sides
) -> None:
    with pytest.raises(
        ValueError, match=r"^Connect InstantID's ControlNet, .* \(context 96\).* SD1\.5 \(context 768\)\."
    ):
        apply(texts, network(sdxl, 1, context_dim=768), face(1))


def test_what_reads_no_texts_is_refused(face: Callable[[int], ImagePrompt], texts: Sides) -> None:
    from comfy.controlnet import ControlLora, T2IAdapter

    for other in (T2IAdapter(torch.nn.Linear(1, 1), 3, 8, "nearest-exact"), ControlLora({}), object()):
        with pytest.raises(ValueError, match=rf"^Connect InstantID's ControlNet, from .* a {type(other).__name__}\)\."):
            apply(texts, other, face(1))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"start": 0.6, "end": 0.5}, r"^Set end behind start; found start 0\.6 and end 0\.5\."),
        ({"picture": torch.zeros(64, 64)}, r"^Connect key_points to a picture, .* found 64x64\."),
        ({"picture": torch.zeros(1, 64, 64, 1)}, r"^Connect key_points to a picture, .* found 1x64x64x1\."),
        ({"mask": torch.zeros(1, 1, 1, 8, 8)}, r"^Connect a mask of shape"),
    ],
)
def test_wrong_hints_are_refused(
    identity_net: Any, face: Callable[[int], ImagePrompt], texts: Sides, how: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        apply(texts, identity_net, face(1), **how)


def test_a_prompt_of_another_adapter_is_refused(sdxl: Twins, identity_net: Any, texts: Sides, tmp_path: Path) -> None:
    nested = adapters.adapter(widths=(32,), context=sdxl.context, **KINDS["FaceID"])
    network = load(adapters.save(tmp_path / "faceid.safetensors", nested))
    prompt = image_prompt(network, (torch.ones(1, 512),), (torch.zeros(1, 512),))
    with pytest.raises(ValueError, match=r"^Encode the face with InstantID's ip-adapter\.bin"):
        apply(texts, identity_net, prompt)

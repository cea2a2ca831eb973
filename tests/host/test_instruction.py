"""Texts for IP-Adapter-Instruct: what transformers' CLIPTextModel says first, as its authors' code takes it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from telling import IMAGES, SMALL, Encoder, loaded, small_clip, small_encoder

pytestmark = pytest.mark.usefixtures("comfy")

SHORT, BRACKETS = "use the style", "a (red:1.4) apple, [blurred] ((twice))"
LONG = "an apple on a " + ", ".join(["very unbelievably extraordinarily old table"] * 30)


@pytest.fixture(scope="module", params=["SD1.5", "SDXL"])
def clip(request: pytest.FixtureRequest, comfy: None) -> Any:
    return small_clip(request.param)


def published(clip: Any, text: str) -> Tensor:
    """What the authors' code feeds: text_encoder(ids)[0], of ids filled up, or cut, to the tokenizer's length."""
    import comfy.sd1_clip
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer")
    model = CLIPTextModel(CLIPTextConfig(**SMALL, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407))
    weights = clip.cond_stage_model.clip_l.transformer.text_model.state_dict()
    getattr(model, "text_model", model).load_state_dict(weights, strict=True)  # transformers 5 has no such part
    ids = tokenizer(text, max_length=77, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return model.eval()(ids, return_dict=True)[0]


def instruct(clip: Any, instruction: str, prompt: str = "", negative: str = "") -> Any:
    from comfyui_ip_adapter.nodes.host.instruction import instruct

    with torch.no_grad():
        return instruct(clip, instruction, prompt, negative)


@pytest.mark.parametrize("text", [SHORT, BRACKETS, LONG], ids=["short", "brackets", "long"])
def test_states_are_those_that_the_published_code_takes(clip: Any, text: str) -> None:
    found = instruct(clip, text, "a house", "rain")
    for states, meant in ((found.instruction, text), (found.prompt, "a house"), (found.negative, "rain")):
        assert states.shape == (1, 77, 64)
        torch.testing.assert_close(states, published(clip, meant), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.nothing, published(clip, ""), atol=1e-5, rtol=0)


def test_no_negative_prompt_is_the_empty_text(clip: Any) -> None:
    found = instruct(clip, SHORT, "a house")
    assert torch.equal(found.negative, found.nothing)


def test_conditioning_is_something_else_for_sdxl_and_stays_as_it_was(clip: Any) -> None:
    with torch.no_grad():
        before = clip.encode_from_tokens(clip.tokenize(SHORT))
        states = instruct(clip, SHORT).instruction
        after = clip.encode_from_tokens(clip.tokenize(SHORT))
    assert torch.equal(before, after)
    is_sdxl = hasattr(clip.cond_stage_model, "clip_g")
    assert torch.allclose(before[..., :64], states, atol=1e-5) != is_sdxl


def test_a_chosen_layer_of_the_clip_does_not_count(clip: Any) -> None:
    skipping = clip.clone()
    skipping.clip_layer(-2)
    assert torch.equal(instruct(skipping, SHORT).instruction, instruct(clip, SHORT).instruction)
    assert skipping.layer_idx == -2


@pytest.mark.parametrize("text", ["", "  \n"])
def test_without_an_instruction_it_says_what_to_write(clip: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"^Write into instruction what to take .*“use the style”"):
        instruct(clip, text, "a house")


@pytest.mark.parametrize("other", [SimpleNamespace(cond_stage_model=SimpleNamespace(clip_h=None)), None])
def test_a_clip_without_clip_l_is_refused(other: Any) -> None:
    with pytest.raises(ValueError, match=r"^Connect the CLIP of an SD1\.5 or SDXL checkpoint"):
        instruct(other, SHORT)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    return small_encoder(monkeypatch)


@pytest.mark.parametrize("detail", ["whole", "tiles"])
@pytest.mark.parametrize("how", ["concat", "separate", "one per frame", "average"])
def test_every_way_to_read_references_reads_the_texts(
    clip: Any, encoder: Encoder, tmp_path: Path, detail: str, how: str
) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import Look, encode_prompt

    adapter = loaded(tmp_path)

    def parts(instruction: str, prompt: str = "") -> list[Tensor]:
        look = Look("center crop", Gathering(how), detail, 2, instruction=instruct(clip, instruction, prompt))
        return [part.tokens for part in encode_prompt(adapter, encoder, IMAGES, look)[0].parts]

    style, again, pose, house = parts(SHORT), parts(SHORT), parts("use the pose"), parts(SHORT, "a house")
    assert len(style) == len(pose) == len(house) > 0
    for one, same, other, elsewhere in zip(style, again, pose, house, strict=True):
        assert torch.equal(one, same)
        assert (one - other).abs().max() > 0.01
        assert (one - elsewhere).abs().max() > 0.01


def test_pictures_alone_are_refused_before_anything_is_sampled(encoder: Encoder, tmp_path: Path) -> None:
    from comfyui_ip_adapter.nodes.host.encoding import encode_prompt

    with pytest.raises(ValueError, match=r"^Connect Image Prompt Instruction to the instruction of Encode"):
        encode_prompt(loaded(tmp_path), encoder, IMAGES)


@pytest.mark.parametrize(("kind", "notices"), [("Instruct", 0), ("plus", 1)])
def test_other_kinds_say_that_they_do_not_read_it(
    clip: Any, encoder: Encoder, tmp_path: Path, kind: str, notices: int
) -> None:
    from comfyui_ip_adapter.nodes.notices import of_instruction

    found = of_instruction(loaded(tmp_path, kind).identity, told=True)
    assert len(found) == notices
    assert not of_instruction(loaded(tmp_path, kind).identity, told=False)
    assert not notices or found[0].startswith("Load an adapter of kind Instruct, or disconnect instruction; ")

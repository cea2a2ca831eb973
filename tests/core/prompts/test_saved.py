"""Saved image prompts: what comes back is what was saved, for the adapter that made it and for no other."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import concat_parts
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, Origin, PromptPart, image_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.saved import Maker, label, load, save
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import Transition, over_frames
from fabricate import adapters
from same_prompt import GATHERINGS, MASKS, assert_same, prompt_of, read

Held = dict[str, Tensor]
Said = dict[str, str]
Damage = Callable[[Held, Said], object]


@pytest.fixture
def network(tmp_path: Path) -> Adapter:
    return made(tmp_path, {})


def made(folder: Path, options: dict[str, Any], seed: int = 0) -> Adapter:
    nested = adapters.adapter(**options, seed=seed)
    return core.load(adapters.save(folder / "adapter.safetensors", nested))


def maker(network: Adapter, name: str = "a.safetensors") -> Maker:
    origin = Origin(name, network.digest())
    return Maker(network.identity(), origin, network.image_proj.context, network.keys_values, network.lora)


def metadata(path: Path) -> Said:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_a_prompt_of_references_read_in_part_stays_so(tmp_path: Path) -> None:
    network = made(tmp_path, adapters.KINDS["plus"])
    hidden, blank = read(network.identity(), 2), read(network.identity(), 1, seed=1)
    whole, part = (
        replace(image_prompt(network, cond, blank), origin=Origin("a.safetensors", network.digest()))
        for cond in (hidden, (*hidden, torch.tensor([[True, False, True, False, True], [False] * 4 + [True]])))
    )
    save(part, tmp_path / "p.safetensors")
    loaded = load(tmp_path / "p.safetensors", maker(network))
    assert_same(loaded, part)
    assert not torch.equal(loaded.parts[0].tokens, whole.parts[0].tokens)


@pytest.mark.parametrize("options", adapters.KINDS.values(), ids=adapters.KINDS)
@pytest.mark.parametrize("how", GATHERINGS)
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, options: dict[str, Any], how: str) -> None:
    network = made(tmp_path, options)
    prompt = prompt_of(network, how)
    save(prompt, tmp_path / "inner" / "p.safetensors")
    assert_same(load(tmp_path / "inner" / "p.safetensors", maker(network)), prompt)
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["p.safetensors"]


def test_prompts_that_were_joined_keep_all_their_parts_in_order(tmp_path: Path, network: Adapter) -> None:
    prompt = concat_parts([prompt_of(network, how) for how in ("masked", "weighted", "one per frame", "separate") * 2])
    assert len(prompt.parts) == 16
    save(prompt, tmp_path / "p.safetensors")
    assert_same(load(tmp_path / "p.safetensors", maker(network)), prompt)


def test_a_prompt_without_parts_stays_one(tmp_path: Path, network: Adapter) -> None:
    save(replace(prompt_of(network), parts=()), tmp_path / "p.safetensors")
    assert load(tmp_path / "p.safetensors", maker(network)).parts == ()


def test_many_masks_keep_their_order(tmp_path: Path, network: Adapter) -> None:
    prompt = prompt_of(network)
    masks = tuple(torch.full((1, 2, 2), number / 16) for number in range(12))
    prompt = replace(prompt, parts=(replace(prompt.parts[0], masks=masks),))
    save(prompt, tmp_path / "p.safetensors")
    assert_same(load(tmp_path / "p.safetensors", maker(network)), prompt)


MASK_FORMS = {
    "white and black": ((MASKS > 0.5).float(), torch.uint8),
    "of a picture": ((MASKS * 255).round() / 255, torch.uint8),
    "in halves": (MASKS.half().float(), torch.float16),
    "of any numbers": (MASKS, torch.float32),
    "beyond 0 to 1": (MASKS * 4 - 2, torch.float32),
    "of one axis less": (MASKS[0], torch.float32),
}


@pytest.mark.parametrize("form", MASK_FORMS)
def test_masks_take_the_least_room_in_which_no_number_changes(tmp_path: Path, network: Adapter, form: str) -> None:
    mask, stored = MASK_FORMS[form]
    prompt = prompt_of(network)
    save(replace(prompt, parts=(replace(prompt.parts[0], masks=(mask,)),)), tmp_path / "p.safetensors")
    assert load_file(tmp_path / "p.safetensors")["0.masks.0"].dtype == stored
    (back,) = load(tmp_path / "p.safetensors", maker(network)).parts[0].masks
    assert back.dtype == torch.float32
    assert torch.equal(back, mask)


def test_a_saved_prompt_is_as_large_as_its_tokens(tmp_path: Path, network: Adapter) -> None:
    tokens = torch.randn(2, 16, 2048)  # of SDXL plus, one image
    keys_values = network.keys_values(torch.randn(2, 16, 64))
    part = PromptPart(tokens, keys_values, torch.tensor([[0], [1]]))
    save(replace(prompt_of(network), parts=(part,)), tmp_path / "p.safetensors")
    assert (tmp_path / "p.safetensors").stat().st_size < tokens.nbytes + 2000


def test_tokens_of_kolors_are_kept_as_they_are_before_the_base_model_projects_them(tmp_path: Path) -> None:
    network = made(tmp_path, adapters.KINDS["Kolors FaceID-Plus"])
    save(prompt_of(network), tmp_path / "p.safetensors")
    prompt = load(tmp_path / "p.safetensors", maker(network))
    assert prompt.parts[0].tokens.shape[-1] == network.image_proj.context != network.identity().geometry.context
    (part,) = prompt.with_text_projection(lambda tokens: tokens[..., : adapters.TINY_CONTEXT]).parts
    assert torch.equal(part.keys_values[0].keys, network.keys_values(part.tokens)[0].keys)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    network = made(tmp_path, adapters.KINDS["plus"])
    save(prompt_of(network, name="inner/plus.safetensors"), tmp_path / "p.safetensors", "the red\n\tcat")
    assert metadata(tmp_path / "p.safetensors") == {
        "format": "IP-Adapter image prompt",
        "version": "1",
        "adapter": "inner/plus.safetensors",
        "digest": network.digest(),
        "variant": "plus",
        "family": "a model of its own kind",
        "tokens": "16",
        "images": "3",
        "encoder": "an encoder of width 64",
        "note": "the red\n\tcat",
    }
    said = label(tmp_path / "p.safetensors").describe()
    assert said == "plus for a model of its own kind, 3 images, made with inner/plus.safetensors\nthe red cat"


@pytest.mark.parametrize(
    ("kind", "how", "says"),
    [
        ("base", "one per frame", " 3 images,"),
        ("base", "separate", " 3 images,"),
        ("base", "average", " 1 image,"),
        ("full face", "alike", " 15 tokens,"),
    ],
)
def test_the_label_counts_images_where_tokens_tell_them(tmp_path: Path, kind: str, how: str, says: str) -> None:
    save(prompt_of(made(tmp_path, adapters.KINDS[kind]), how), tmp_path / "p.safetensors")
    assert says in label(tmp_path / "p.safetensors").describe()


def test_the_label_tells_images_from_frames(tmp_path: Path) -> None:
    network = made(tmp_path, adapters.KINDS["base"])
    animation, _ = over_frames(prompt_of(network, "one per frame"), Transition(48))
    save(animation, tmp_path / "p.safetensors")
    found = label(tmp_path / "p.safetensors")
    assert " 3 images over 48 frames, made with" in found.describe()
    assert " 48 frames, made with" in found._replace(images=None).describe()  # as files of earlier versions


def test_of_a_long_note_the_label_shows_the_beginning(tmp_path: Path, network: Adapter) -> None:
    save(prompt_of(network), tmp_path / "p.safetensors", "word " * 1000)
    note = label(tmp_path / "p.safetensors").describe().splitlines()[1]
    assert note.startswith("word word ")
    assert note.endswith(" …")
    assert len(note) <= 200


def test_another_adapter_is_refused_naming_both(tmp_path: Path, network: Adapter) -> None:
    other = made(tmp_path, {}, seed=1)
    save(prompt_of(network, name="mine.safetensors"), tmp_path / "p.safetensors")
    with pytest.raises(
        ValueError,
        match=r"^Connect the adapter that p\.safetensors was made with, or encode the images again; that was "
        rf"mine\.safetensors \({network.digest()[:8]}\), and the connected adapter is "
        rf"yours\.safetensors \({other.digest()[:8]}\), ",
    ):
        load(tmp_path / "p.safetensors", maker(other, "yours.safetensors"))


def test_the_adapter_may_have_another_name_now(tmp_path: Path, network: Adapter) -> None:
    save(prompt_of(network, name="before.safetensors"), tmp_path / "p.safetensors")
    assert load(tmp_path / "p.safetensors", maker(network, "after.safetensors")).origin == Origin(
        "after.safetensors", network.digest()
    )


def unmade(prompt: ImagePrompt) -> ImagePrompt:
    return replace(prompt, origin=None)


def spoilt(prompt: ImagePrompt) -> ImagePrompt:
    return replace(prompt, parts=(replace(prompt.parts[0], tokens=prompt.parts[0].tokens * torch.nan),))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unmade, "Make this image prompt with .* it does not tell which adapter made it, "),
        (spoilt, r"Make this image prompt again; .*\(there are .* no numbers in its tokens\)"),
    ],
)
def test_what_could_not_be_used_again_is_not_saved(
    tmp_path: Path, network: Adapter, change: Callable[[ImagePrompt], ImagePrompt], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        save(change(prompt_of(network)), tmp_path / "prompts" / "p.safetensors")
    assert not (tmp_path / "prompts").exists()


def without(name: str) -> Damage:
    return lambda held, said: (held if name in held else said).pop(name)


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Damage:
    return lambda held, said: held.update({name: change(held[name]).contiguous()})


def told(**words: str) -> Damage:
    return lambda held, said: said.update(words)


# What happens to a weighted and masked prompt's file -> what is said of it, by its header alone or once it is read.
BY_HEADER: dict[str, tuple[Damage, str]] = {
    "newer": (told(version="2"), r"Update this package; .* format version 2, and it reads version 1"),
    "no version": (without("version"), "format version None"),
    "another format": (
        told(format="pt"),
        r"Choose a file .* no image prompt \(it holds 0.emphasis, 0.images, 0.masks.0\)",
    ),
    "no format": (without("format"), "no image prompt"),
    "no digest": (without("digest"), "damaged image prompt"),
    "tokens in words": (told(tokens="four"), "damaged image prompt .*four"),
    "no tokens": (without("0.tokens"), "lacks its tokens"),
    "no order": (without("0.order"), "lacks its order"),
    "no weights": (without("0.weights"), "lacks its weights"),
    "a part missing": (lambda held, said: held.update({"2.tokens": held["0.tokens"].clone()}), "lacks part 1"),
    "another tensor": (lambda held, said: held.update({"0.keys": torch.ones(2)}), "holds 0.keys, which image prompts"),
    "a part twice": (lambda held, said: held.update({"00.tokens": torch.ones(2, 1, 64)}), "holds 00.tokens"),
    "flat tokens": (changed("0.tokens", torch.flatten), "holds tokens of shape"),
    "tokens in integers": (changed("0.tokens", Tensor.int), "holds tokens of shape .* in I32"),
    "empty tokens": (changed("0.tokens", lambda found: found[:, :0]), "holds tokens of shape"),
    "one side": (changed("0.order", lambda found: found[:1]), r"holds order of shape \[1, 1\]"),
    "three sides": (changed("0.order", lambda found: found[[0, 1, 0]]), r"holds order of shape \[3, 1\]"),
    "no frames": (changed("0.order", lambda found: found[:, :0]), r"holds order of shape \[2, 0\]"),
    "order in floats": (changed("0.order", Tensor.float), "holds order of shape .* in F32"),
    "no weight": (changed("0.weights", lambda found: found[:0]), "holds weights of shape"),
    "emphasis of fewer": (changed("0.emphasis", lambda found: found[1:]), r"holds emphasis of shape \[11\]"),
    "masks in a row": (changed("0.masks.0", lambda found: found[0, 0]), "holds masks of shape"),
    "masks in integers": (changed("0.masks.0", Tensor.long), "holds masks of shape .* in I64"),
}
BY_NUMBERS: dict[str, tuple[Damage, str]] = {
    "narrow tokens": (changed("0.tokens", lambda found: found[..., :32]), "have width 32, and those of the adapter 64"),
    "order beyond": (changed("0.order", lambda found: found + 1), "order points outside of its 2 rows"),
    "order below": (changed("0.order", lambda found: found - 1), "order points outside of its 2 rows"),
    "tokens no numbers": (
        changed("0.tokens", lambda found: found * torch.inf),
        "no numbers in its tokens",
    ),
    "weights no numbers": (changed("0.weights", lambda found: found * torch.nan), "no numbers in its weights"),
    "images that do not divide the tokens": (
        changed("0.images", lambda found: found * 0 + 5),
        "tokens are of 5 images",
    ),
    "emphasis no numbers": (changed("0.emphasis", lambda found: found * torch.nan), "no numbers in its emphasis"),
    "masks no numbers": (changed("0.masks.0", lambda found: found * torch.nan), "no numbers in its masks"),
}


def damaged(path: Path, network: Adapter, damage: Damage) -> Path:
    prompt = prompt_of(network, "weighted")
    save(replace(prompt, parts=(replace(prompt.parts[0], masks=(MASKS,)),)), path)
    held, said = load_file(path), metadata(path)
    damage(held, said)
    save_file(held, path, said)
    return path


@pytest.mark.parametrize("case", BY_HEADER)
def test_a_file_whose_header_cannot_be_meant_is_refused_by_name(tmp_path: Path, network: Adapter, case: str) -> None:
    damage, says = BY_HEADER[case]
    path = damaged(tmp_path / "p.safetensors", network, damage)
    for reading in (label, lambda path: load(path, maker(network))):
        with pytest.raises(UnsupportedCheckpoint, match=rf"^(?=[A-Z].*p\.safetensors ).*{says}"):
            reading(path)


@pytest.mark.parametrize("case", BY_NUMBERS)
def test_a_file_whose_numbers_cannot_be_meant_is_refused_by_name(tmp_path: Path, network: Adapter, case: str) -> None:
    damage, says = BY_NUMBERS[case]
    path = damaged(tmp_path / "p.safetensors", network, damage)
    label(path)
    unused = replace(maker(network), keys_values=None)  # type: ignore[arg-type]
    with pytest.raises(
        UnsupportedCheckpoint, match=rf"^Save p\.safetensors again; it is a damaged image prompt \(.*{says}"
    ):
        load(path, unused)


def test_an_undamaged_file_written_again_is_read(tmp_path: Path, network: Adapter) -> None:
    load(damaged(tmp_path / "p.safetensors", network, lambda held, said: None), maker(network))


def test_a_file_cut_short_anywhere_is_refused_by_name(tmp_path: Path, network: Adapter) -> None:
    save(prompt_of(network, "masked"), tmp_path / "whole.safetensors")
    whole, path = (tmp_path / "whole.safetensors").read_bytes(), tmp_path / "p.safetensors"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UnsupportedCheckpoint, match=r"p\.safetensors (again; it )?is "):
            label(path)


@pytest.mark.parametrize("said", [[], {"format": 1}, "IP-Adapter image prompt", None])
def test_a_file_whose_metadata_are_no_words_is_refused(tmp_path: Path, said: Any) -> None:
    header = json.dumps({"__metadata__": said}).encode()
    (tmp_path / "p.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(UnsupportedCheckpoint, match=r"p\.safetensors (again; it )?is "):
        label(tmp_path / "p.safetensors")


def test_an_adapter_is_no_prompt(tmp_path: Path, network: Adapter) -> None:
    with pytest.raises(
        UnsupportedCheckpoint, match=r"^Choose a file of Save Image Prompt; .* no image prompt \(it holds image_proj\."
    ):
        label(tmp_path / "adapter.safetensors")


def test_the_file_may_be_exchanged_while_its_prompt_is_used(tmp_path: Path, network: Adapter) -> None:
    path = tmp_path / "p.safetensors"
    first = prompt_of(network, "masked")
    save(first, path)
    loaded = load(path, maker(network))
    path.write_bytes(b"\0" * path.stat().st_size)  # in place: what is mapped would change too
    assert_same(loaded, first)

"""The small world: its words, the shipped weights, and the recipe that makes them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import entries
from comfyui_ip_adapter.ip_adapter_core.small_world import drawing, world
from comfyui_ip_adapter.ip_adapter_core.vision import encoder
from package import ROOT

FOLDER = ROOT / "models" / "small_world"
SHIPPED = sorted(FOLDER.rglob("*.safetensors"))
MEGABYTES = 40
CARRIED = {  # the least share of pictures; by chance 0.125 to 0.5
    "base": {"shape": 0.9, "colour": 0.95, "texture": 0.85, "background": 0.95, "size": 0.95, "place": 0.95},
    "plus": {"shape": 0.9, "colour": 0.95, "texture": 0.8, "background": 0.95, "size": 0.95, "place": 0.95},
}


@pytest.fixture(scope="module")
def recipe(comfy: None) -> Any:
    """The recipe's modules, which need a ComfyUI."""
    from comfyui_ip_adapter.benchmarks.small_world import (
        autoencoder,
        base,
        host,
        judge,
        sampling,
        scores,
        tables,
        words,
    )

    modules = (autoencoder, base, host, judge, sampling, scores, tables, words)
    return SimpleNamespace(**{module.__name__.rpartition(".")[2]: module for module in modules})


def test_every_word_is_one_token_and_both_tokenizers_agree(recipe: Any) -> None:
    from comfyui_ip_adapter.nodes.host.small_world import Tokenizer

    ours, host = recipe.words.tokenizer(), Tokenizer()
    assert all(len(ours.encode(word)) == 1 for word in recipe.words.WORDS)
    for text in ("", world.caption(world.scene(9, 0)), "Hello wörld, a 3d dog!"):
        (tokens,) = host.tokenize_with_weights(text)["l"]
        assert [token for token, _ in tokens] == recipe.words.padded(ours([text]))[0].tolist()


def test_the_shipped_weights_are_half_precision_and_small() -> None:
    networks = FOLDER.rglob("*.onnx")
    assert sum(path.stat().st_size for path in (*SHIPPED, *networks)) < MEGABYTES * 1e6
    for path in SHIPPED:
        assert {entry.dtype for entry in entries(path).values()} <= {"F16", "I64"}, path.name


def test_the_shipped_adapters_are_what_their_names_say() -> None:
    for kind, tokens in (("base", 4), ("plus", 16)):
        found = loading.identify(entries(FOLDER / "ipadapter" / f"small_world_{kind}.safetensors"))
        assert (found.variant.name, found.tokens, len(found.geometry.widths)) == (kind, tokens, 6)


@pytest.mark.parametrize("attribute", range(6))
def test_a_group_of_pictures_is_alike_in_all_but_one_attribute(recipe: Any, attribute: int) -> None:
    from comfyui_ip_adapter.benchmarks.small_world.clip import Groups

    dice = np.random.default_rng(0)
    codes = dice.integers(0, 3, (900, 6))
    drawn = Groups(codes, np.arange(900) + 7).draw(attribute, 40, dice) - 7
    shown = [(tuple(np.delete(codes[row], attribute)), codes[row, attribute]) for row in drawn]
    assert len(shown) == 40
    assert len(set(shown)) == 40  # in a group each choice once
    changes = [n for n in range(1, 40) if shown[n][0] != shown[n - 1][0]]
    assert len(changes) == len({rest for rest, _ in shown}) - 1  # group by group
    assert min(np.diff([0, *changes])) > 1


def test_a_few_pictures_need_have_no_groups(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world.clip import Groups

    drawn = Groups(np.arange(12).reshape(2, 6), np.arange(2)).draw(0, 4, np.random.default_rng(0))
    assert torch.from_numpy(drawn).dtype == torch.int64
    assert len(drawn) == 0


def test_a_probe_reads_what_is_there_and_nothing_else(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world.probes import probe

    right = torch.arange(800) % 4
    told = torch.randn(800, 16, generator=torch.manual_seed(0))
    silent = told.clone()
    told[:, :4] += 6 * torch.eye(4)[right]
    assert probe(told[:400], right[:400], told[400:], right[400:]) > 0.97
    assert probe(silent[:400], right[:400], silent[400:], right[400:]) < 0.4


def test_an_echo_is_of_what_a_caption_adds_to_silence(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world.echo import Listener, losses

    torch.manual_seed(0)
    layers = [Listener(2, torch.randn(8, 6), torch.randn(8, 6), torch.randn(64, 8)) for _ in range(3)]
    caption, silence = torch.randn(5, 4, 6), torch.zeros(1, 4, 6)  # nothing is heard of zeros
    image = [(caption @ layer.to_k.T, caption @ layer.to_v.T) for layer in layers]
    assert max(losses(layers, image, caption, silence)) < 1e-6
    assert min(losses(layers, image, caption.roll(1, 0), silence)) > 0.2
    assert min(losses(layers, image, caption, silence + 1)) > 0.2


def test_the_shipped_encoder_is_an_openclip_model_with_both_towers(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world import clip

    assert clip.trained().encode_text(recipe.words.tokenizer()(["a star"])).shape == (1, 64)
    assert encoder.identify_file(clip.FILE).image_size == world.SIDE


def test_the_stock_loader_loads_what_was_trained(recipe: Any) -> None:
    _, text = recipe.base.trained()
    tokens = recipe.words.padded(recipe.words.tokenizer()(["a red star"]))
    assert torch.allclose(recipe.host.contexts(["a red star"]).float(), text(tokens), atol=5e-3)


def test_the_autoencoder_draws_sketches_large_and_reads_them_back(recipe: Any, subjects: Any) -> None:
    vae, scenes = recipe.host.checkpoint().vae, subjects.scenes[:8]
    picture, latents = drawing.draw(scenes).movedim(1, -1), drawing.sketch(scenes) * 2 - 1
    with torch.no_grad():
        drawn, read = vae.decode(latents), vae.encode(picture)
    assert (drawn - picture).abs().mean() < 0.02
    narrow = recipe.autoencoder.trained().decode(latents).clamp(0, 1).movedim(1, -1)
    assert torch.allclose(drawn, narrow, atol=1e-4)
    assert (read - latents).abs().mean() < 0.04


def test_the_narrow_autoencoder_laid_into_the_wide_one_computes_the_same(recipe: Any) -> None:
    from comfy.taesd.taesd import TAESD

    narrow, wide = recipe.autoencoder.Narrow(5), TAESD(latent_channels=3)
    wide.load_state_dict(narrow.widened())
    latents, picture = torch.rand(1, 3, 8, 8) * 2 - 1, torch.rand(1, 3, 64, 64)
    assert torch.allclose(wide.decode(latents), narrow.decode(latents) * 2 - 1, atol=1e-5)
    assert torch.allclose(wide.encode(picture * 2 - 1), narrow.encode(picture), atol=1e-5)


@pytest.fixture(scope="module")
def subjects(recipe: Any) -> Any:
    """A few held-out references."""
    return recipe.scores.subjects(48)


def test_the_judge_reads_held_out_pictures(recipe: Any, subjects: Any) -> None:
    read = recipe.scores.agreement(drawing.draw(subjects.scenes), subjects.scenes)
    assert min(read.values()) >= 0.9


@pytest.mark.parametrize("kind", CARRIED)
def test_an_image_prompt_alone_carries_every_attribute(recipe: Any, subjects: Any, kind: str) -> None:
    references = recipe.host.features(drawing.draw(subjects.scenes))
    wish = recipe.sampling.Wish([""] * len(subjects.scenes), references, kind)
    prompted = recipe.scores.agreement(recipe.sampling.sampled(wish), subjects.scenes)
    assert all(prompted[name] >= least for name, least in CARRIED[kind].items()), prompted


def test_style_layers_take_the_look_and_composition_layers_the_layout(recipe: Any, subjects: Any) -> None:
    """Text and image disagree about everything: whose attributes are drawn?"""
    from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type

    seen, scores = recipe.host.features(drawing.draw(subjects.scenes)), recipe.scores
    of_image, of_text = {}, {}
    for name in ("style transfer", "composition"):
        wish = recipe.sampling.Wish(subjects.contrary, seen, "plus", 1.5, layers=from_weight_type(name))
        pictures = recipe.sampling.sampled(wish)
        of_image[name], of_text[name] = (
            scores.agreement(pictures, scenes) for scenes in (subjects.scenes, subjects.others)
        )
    for look in recipe.tables.STYLE:
        assert of_image["style transfer"][look] > of_image["composition"][look] + 0.05, look
    for layout in ("size", "place"):
        assert of_image["composition"][layout] > of_image["style transfer"][layout] + 0.15, layout
        assert of_text["style transfer"][layout] > 0.85, layout
    assert of_text["style transfer"]["shape"] > 0.85
    assert of_text["composition"]["colour"] > 0.85


def test_what_a_tuned_model_is_to_learn_is_the_picture_in_the_new_style(recipe: Any, subjects: Any) -> None:
    """At every level of noise the aim is nearer to it than what the model makes of a style that it does not know."""
    from comfyui_ip_adapter.benchmarks.small_world import style

    unet, text = recipe.base.trained()
    signal, context = recipe.base.noise_levels(), text(recipe.words.padded(recipe.words.tokenizer()(subjects.texts)))
    original = style.Original(unet, signal)
    pictures = drawing.pastel(drawing.sketch(subjects.scenes)) * 2 - 1
    torch.manual_seed(0)
    for timestep in (100, 400, 700, 950):
        t = torch.full((len(pictures),), timestep)
        noisy, target = recipe.base.diffused(pictures, signal[t])
        aim, unknowing = original.aim(noisy, signal[t], context), unet(noisy, t, context)
        assert (aim - target).square().mean() < 0.2 * (unknowing - target).square().mean(), timestep
        assert unet(noisy, t, context).equal(unknowing), "the model stays what it was"


def test_regions_put_each_reference_on_its_side(recipe: Any, subjects: Any) -> None:
    measured = [goal.measured for goal in recipe.tables.placing(subjects).goals]
    assert min(measured[::2]) > 0.7, "its own"
    assert max(measured[1::2]) < 0.2, "the other's"


def test_one_prompt_holds_the_object_of_one_picture_and_the_background_of_another(recipe: Any, subjects: Any) -> None:
    assert min(goal.measured for goal in recipe.tables.mixing(subjects).goals) > 0.6


def test_the_weight_zero_is_the_model_without_an_adapter(recipe: Any, subjects: Any) -> None:
    texts, seen = subjects.texts[:4], recipe.host.features(drawing.draw(subjects.scenes[:4]))
    wish = recipe.sampling.Wish
    plain, zero, whole = (
        recipe.sampling.sampled(one) for one in (wish(texts), wish(texts, seen, weight=0.0), wish(texts, seen))
    )
    assert torch.equal(plain, zero)
    assert not torch.equal(plain, whole)


def test_what_the_recipe_made_is_not_made_again(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.benchmarks.small_world import everything

    monkeypatch.setattr(everything, "DONE", tmp_path / "done")
    made: list[int] = []
    part = everything.Part("judge", 9, made.append)
    for steps in (5, 5, 9, 5):
        everything.once(part, steps)
    assert made == [5, 9]

    def stopped(steps: int) -> None:
        made.append(steps)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            everything.once(everything.Part("style", 7, stopped), 7)
    assert made == [5, 9, 7, 7]


def test_what_the_recipe_makes_has_a_line_in_its_history(recipe: Any) -> None:
    from comfyui_ip_adapter.benchmarks.small_world import everything, history

    assert list(history.PARTS) == [part.name for part in everything.parts()]


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (2, 2), (50, 5), (600, 12)])
def test_a_short_training_has_a_curve_too(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, kept: int
) -> None:
    from comfyui_ip_adapter.benchmarks.small_world import shelf

    monkeypatch.setattr(shelf, "RECORDS", tmp_path)
    shelf.record("part", [1 - step / steps for step in range(steps)], 3.0)
    found = json.loads((tmp_path / "part.json").read_text())
    assert (found["steps"], len(found["losses"])) == (steps, kept)
    assert found["losses"] == sorted(set(found["losses"]), reverse=True)


@pytest.mark.parametrize(
    ("processor", "told", "used"),
    [("AVX512", None, True), ("AVX2", None, False), ("AVX512", "0", False), ("AVX2", "1", True)],
)
def test_bfloat16_is_used_where_the_processor_has_it(
    recipe: Any, monkeypatch: pytest.MonkeyPatch, processor: str, told: str | None, used: bool
) -> None:
    from comfyui_ip_adapter.benchmarks.small_world import shelf

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    monkeypatch.delenv("SMALL_WORLD_BFLOAT16", raising=False)
    if told:
        monkeypatch.setenv("SMALL_WORLD_BFLOAT16", told)
    with shelf.mixed_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) is used


@pytest.mark.timeout(900)
def test_the_whole_recipe_runs_and_makes_every_file_that_is_shipped(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "small_world" / "run.py"
    command = [sys.executable, str(script), "everything", "2", "--pictures", "8", "--into", str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1", "SMALL_WORLD_BFLOAT16": "0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for path in SHIPPED:
        made = tmp_path / path.relative_to(FOLDER)
        assert shapes(made) == shapes(path), path.name


def shapes(path: Path) -> dict[str, list[int]]:
    """The names and shapes of a file's tensors."""
    with safe_open(path, "pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}

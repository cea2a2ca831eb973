"""Image prompts in whole graphs on a running ComfyUI: what they change, what they leave alone, what they go with."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live import specimens
from live.graphs import Graph, Node, control, text_to_image
from live.kinds import OF_PICTURES, TOLD, TOWERS
from live.prompting import OTHER, REFERENCE, WIDE, Prompted, Simply, bypass, difference, forget, load, picture
from live.results import PICTURE, ExecutionError, ValidationError
from live.server import Server
from live.specimens import named

ACTS = 1.0  # mean difference in levels, above which a picture is another one
OURS = {"adapter", "tower", "encode", "apply"}
HALF = Prompted(weight=0.5)
STYLE = ("use the style", "a red apple", "")


# What weight, span and reference mean


def test_weight_zero_is_the_picture_without_adapter_bit_for_bit(stocked: Server, plain: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, Prompted(weight=0.0)), plain)


def test_a_bypassed_node_leaves_no_trace(stocked: Server, plain: np.ndarray, prompted: np.ndarray) -> None:
    found = stocked.run(bypass(text_to_image(Prompted()), "apply")).image()
    assert np.array_equal(found, plain)
    assert difference(found, prompted) > ACTS


@pytest.mark.parametrize("kind", OF_PICTURES)
def test_every_kind_of_adapter_that_reads_pictures_acts(stocked: Server, plain: np.ndarray, kind: str) -> None:
    told = STYLE if kind in TOLD else None
    prompted = Prompted(adapter=named(f"{kind}.safetensors"), tower=named(TOWERS[kind]), told=told)
    assert difference(picture(stocked, prompted), plain) > ACTS


INSTRUCTED = Prompted(adapter=named("Instruct.safetensors"), told=STYLE)


@pytest.mark.parametrize(
    "texts", [("use the pose", *STYLE[1:]), (STYLE[0], "the sea", ""), (*STYLE[:2], "rain")], ids=lambda texts: texts[0]
)
def test_what_an_adapter_is_told_changes_the_picture(stocked: Server, texts: tuple[str, str, str]) -> None:
    usual, found = (picture(stocked, replace(INSTRUCTED, told=told)) for told in (STYLE, texts))
    assert difference(usual, found) > ACTS
    assert np.array_equal(picture(stocked, INSTRUCTED), usual)


def test_a_negative_image_stands_beside_the_empty_instruction(stocked: Server) -> None:
    assert difference(picture(stocked, replace(INSTRUCTED, negative=OTHER)), picture(stocked, INSTRUCTED)) > ACTS


def test_an_adapter_that_must_be_told_says_what_to_connect(stocked: Server) -> None:
    with pytest.raises(ExecutionError) as failed:
        stocked.run(text_to_image(replace(INSTRUCTED, told=None)))
    assert failed.value.node_id == "encode"
    assert failed.value.message.startswith("Connect Image Prompt Instruction to the instruction of Encode Image Prompt")


def test_an_adapter_that_reads_no_instruction_says_so_and_does_as_without(
    stocked: Server, prompted: np.ndarray
) -> None:
    result = stocked.run(text_to_image(Prompted(told=STYLE)))
    assert np.array_equal(result.image(), prompted)
    assert result.outputs["encode"]["text"][0].startswith("Load an adapter of kind Instruct, or disconnect instruction")


def test_nodes_that_choose_by_themselves_take_no_adapter_that_must_be_told(stocked: Server) -> None:
    report = stocked.run(text_to_image(Simply())).outputs["simple"]["text"][0]
    assert "Instruct" not in report
    with pytest.raises(ValidationError, match="Instruct"):
        stocked.run(text_to_image(Simply(kind="Instruct")))


def test_a_negative_weight_acts_in_another_way(stocked: Server, plain: np.ndarray, prompted: np.ndarray) -> None:
    found = picture(stocked, Prompted(weight=-1.0))
    assert difference(found, plain) > ACTS
    assert difference(found, prompted) > ACTS


def test_the_same_seed_repeats_bit_for_bit_from_scratch(stocked: Server, prompted: np.ndarray) -> None:
    forget(stocked)
    again = stocked.run(text_to_image(Prompted()))
    assert not again.cached
    assert np.array_equal(again.image(), prompted)


def test_another_reference_makes_another_picture(stocked: Server, prompted: np.ndarray) -> None:
    assert difference(picture(stocked, Prompted(images=(OTHER,))), prompted) > ACTS


@pytest.mark.parametrize("file", ["base.safetensors", "plus.safetensors"])
def test_several_references_differ_from_each_alone(stocked: Server, file: str) -> None:
    one, other, both = (
        picture(stocked, Prompted(adapter=named(file), images=images))
        for images in ((REFERENCE,), (OTHER,), (REFERENCE, OTHER))
    )
    assert difference(both, one) > ACTS
    assert difference(both, other) > ACTS


@pytest.mark.parametrize("file", ["base.safetensors", "plus.safetensors"])
def test_a_negative_image_changes_the_picture(stocked: Server, file: str) -> None:
    neutral = Prompted(adapter=named(file))
    assert difference(picture(stocked, replace(neutral, negative=OTHER)), picture(stocked, neutral)) > ACTS


def test_a_file_gives_the_same_picture_in_either_container(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, Prompted(adapter=named("base.bin"))), prompted)


@pytest.mark.parametrize(("file", "name"), [("base.bin", "renamed.safetensors"), ("base.safetensors", "LOUD.SFT")])
def test_a_file_is_read_whatever_it_is_called(stocked: Server, prompted: np.ndarray, file: str, name: str) -> None:
    folder = stocked.base / "models" / "ipadapter" / specimens.FOLDER
    shutil.copy(folder / file, folder / name)
    try:
        assert np.array_equal(picture(stocked, Prompted(adapter=named(name))), prompted)
    finally:
        (folder / name).unlink()


def test_a_window_without_steps_is_the_picture_without_adapter(stocked: Server, plain: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, Prompted(span=(1, 1, "steps"))), plain)


def test_every_window_makes_a_picture_of_its_own(stocked: Server, plain: np.ndarray, prompted: np.ndarray) -> None:
    first, middle = (picture(stocked, Prompted(span=window)) for window in ((0, 1, "steps"), (1, 2, "steps")))
    assert_all_different([plain, prompted, first, middle])


def test_percentages_mean_the_steps_at_their_noise_levels(stocked: Server) -> None:
    for steps, percent in (((0, 1, "steps"), (0.0, 0.3, "percent")), ((1, 2, "steps"), (0.3, 0.8, "percent"))):
        by_steps, by_percent = (picture(stocked, Prompted(span=span)) for span in (steps, percent))
        assert np.array_equal(by_steps, by_percent)


def assert_all_different(pictures: list[np.ndarray]) -> None:
    for number, one in enumerate(pictures):
        for other in pictures[:number]:
            assert difference(one, other) > ACTS


def test_a_window_of_all_steps_is_the_whole_prompt(stocked: Server, prompted: np.ndarray) -> None:
    for span in ((0, 3, "steps"), (0, 100, "steps")):
        assert np.array_equal(picture(stocked, Prompted(span=span)), prompted)


# What other branches and later runs see


def test_a_branch_without_adapter_does_not_notice_the_one_with_it(
    stocked: Server, plain: np.ndarray, prompted: np.ndarray
) -> None:
    stocked.run(text_to_image(Prompted(), seed=5))  # what this does to the loaded model would show below
    found = stocked.run(two_branches())
    assert "loader" in found.cached
    assert np.array_equal(found.image(PICTURE), prompted)
    assert np.array_equal(found.image("second"), plain)


def two_branches() -> Graph:
    graph = text_to_image(Prompted())
    sampler = graph["sampler"]["inputs"] | {"model": ["loader", 0]}
    decoded = graph.add("VAEDecode", samples=graph.add("KSampler", **sampler), vae=["loader", 2])
    prefix = graph[PICTURE]["inputs"]["filename_prefix"]
    graph.add("SaveImage", "second", images=decoded, filename_prefix=f"second{prefix}")
    return graph


def test_changing_the_weight_and_back_gives_the_first_picture_again(stocked: Server, prompted: np.ndarray) -> None:
    stocked.run(text_to_image(Prompted()))
    changed = stocked.run(text_to_image(HALF))
    back = stocked.run(text_to_image(Prompted()))
    assert difference(changed.image(), prompted) > ACTS
    assert np.array_equal(back.image(), prompted)
    for result in (changed, back):
        assert {"adapter", "tower", "encode"} <= result.cached
        assert not result.cached & {"apply", "sampler"}


@pytest.mark.parametrize("change", [{"seed": 11}, {"text": "the sea"}, {"steps": 2}], ids=str)
def test_changing_the_sampling_runs_none_of_our_nodes_again(stocked: Server, change: dict[str, Any]) -> None:
    stocked.run(text_to_image(Prompted()))
    found = stocked.run(text_to_image(Prompted(), **change))
    assert found.cached >= OURS
    assert "sampler" not in found.cached


def test_the_simple_node_follows_the_reference(stocked: Server, plain: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, Simply(weight=0.0)), plain)
    assert_all_different([plain, picture(stocked, Simply()), picture(stocked, Simply(image=OTHER))])


@pytest.mark.parametrize("name", ["elsewhere\\plus.safetensors", "elsewhere/plus.ckpt", "Plus .safetensors"])
def test_loaders_find_files_under_names_of_another_computer_and_say_so(stocked: Server, name: str) -> None:
    meant = named("plus.safetensors")
    result = stocked.run(text_to_image(Prompted(adapter=name, tower="elsewhere\\tower.pth")))
    assert np.array_equal(result.image(), picture(stocked, Prompted(adapter=meant)))
    assert result.outputs["adapter"]["text"][0].startswith(f"Took {meant} for")
    assert result.outputs["tower"]["text"][0].startswith(f"Took {named('tower.safetensors')} for")


def test_the_simple_node_encodes_once_for_all_weights(stocked: Server) -> None:
    forget(stocked)
    first, again, other = (
        stocked.run(text_to_image(Simply(weight=weight, image=image))).outputs["simple"]
        for weight, image in ((1.0, REFERENCE), (0.5, REFERENCE), (0.5, OTHER))
    )
    assert again["text"] == first["text"]
    assert len(first["images"]) == len(again["images"]) == len(other["images"]) == 1


def test_the_simple_node_takes_a_file_that_came_after_its_run(stocked: Server, tmp_path: Path) -> None:
    """The node's result is cached, and another adapter that fits better is no input of it."""
    before = stocked.run(text_to_image(Simply())).outputs["simple"]["text"][0].splitlines()[0]
    folder = stocked.base / "models" / "ipadapter"
    file = next(folder.glob(f"**/{before.partition(': ')[0].split('/')[-1]}"))
    better = shutil.copy(file, folder / "0 first.safetensors")
    try:
        after = stocked.run(text_to_image(Simply())).outputs["simple"]["text"][0].splitlines()[0]
    finally:
        Path(better).unlink()
    assert after.startswith("0 first.safetensors: ")


def test_the_simple_node_needs_only_model_picture_and_weight_and_when_it_acts(stocked: Server) -> None:
    graph = text_to_image(Simply())
    for name in ("unit", "kind", "fit"):
        del graph["simple"]["inputs"][name]
    assert np.array_equal(stocked.run(graph).image(), picture(stocked, Simply()))


def test_the_simple_node_accepts_a_kind_that_it_no_longer_offers_and_says_which_nodes_read_it(stocked: Server) -> None:
    with pytest.raises(ExecutionError) as failed:
        stocked.run(text_to_image(Simply(kind="FaceID-Plus")))
    assert failed.value.node_id == "simple"
    assert failed.value.message.startswith("Use Face Embedding and Encode Face Prompt")


def test_the_simple_node_is_its_parts(stocked: Server) -> None:
    by_parts = picture(stocked, automatic)
    assert np.array_equal(picture(stocked, Simply()), by_parts)


def automatic(graph: Graph, model: Any) -> Node:
    found = graph.add("IPA_AutoLoad", model=model, kind="any")
    image = load(graph, REFERENCE)
    encoded = graph.add("IPA_Encode", ip_adapter=found, clip_vision=found[1], image=image, fit="center crop")
    return Prompted().applied(graph, model, encoded)


# What the encoder sees


ENLARGED = 4  # times that a preview of 56 pixels is, so that it has 224


def seen(server: Server, fit: str) -> np.ndarray:
    forget(server)
    return as_read(server.run(text_to_image(Prompted(images=(WIDE,), fit=fit))).image("encode"))


def as_read(preview: np.ndarray) -> np.ndarray:
    """What a preview shows, which draws each pixel of a small picture as a square."""
    small = preview[::ENLARGED, ::ENLARGED]
    assert np.array_equal(small.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1), preview)
    return small


def test_each_fit_shows_another_picture_of_the_size_of_the_encoder(stocked: Server) -> None:
    found = [seen(stocked, fit) for fit in ("center crop", "pad", "squash")]
    assert {picture.shape for picture in found} == {(56, 56, 3)}
    assert_all_different(found)


def test_padding_adds_borders_of_the_mean_colour(stocked: Server) -> None:
    padded = seen(stocked, "pad")
    mean = np.round(np.array([0.48145466, 0.4578275, 0.40821073]) * 255)
    for border in (padded[:14], padded[-14:]):
        assert np.abs(border - mean).max() <= 1  # the preview truncates
    assert padded[14:42].std() > 20


def test_each_reference_of_a_batch_is_shown(stocked: Server) -> None:
    forget(stocked)
    found = list(map(as_read, stocked.run(text_to_image(Prompted(images=(REFERENCE, OTHER)))).images("encode")))
    assert [picture.shape for picture in found] == [(56, 56, 3)] * 2
    assert difference(*found) > ACTS


# What image prompts go with


def test_a_controlnet_and_an_image_prompt_both_act(stocked: Server, plain: np.ndarray, prompted: np.ndarray) -> None:
    controlled = picture(stocked, conditioning_hook=control)
    both = picture(stocked, Prompted(), control)
    assert_all_different([plain, prompted, controlled, both])
    assert np.array_equal(picture(stocked, Prompted(weight=0.0), control), controlled)


def test_image_to_image_works(stocked: Server) -> None:
    without, with_prompt, zero = (
        stocked.run(image_to_image(hook)).image() for hook in (untouched, Prompted(), Prompted(weight=0.0))
    )
    assert difference(with_prompt, without) > ACTS
    assert np.array_equal(zero, without)


def untouched(graph: Graph, model: Any) -> Any:
    return model


def image_to_image(hook: Callable[[Graph, Any], Any]) -> Graph:
    graph = text_to_image(hook, denoise=0.5, steps=4)
    pixels = load(graph, OTHER)
    graph["sampler"]["inputs"]["latent_image"] = graph.add("VAEEncode", pixels=pixels, vae=["loader", 2])[0]
    return graph


def inpainted_latent(graph: Graph, positive: Any, negative: Any) -> tuple[Any, Any]:
    """A conditioning hook: only the right half is painted, by the model's noise mask."""
    pixels, mask = load(graph, OTHER), right_half(graph)
    graph.add("VAEEncodeForInpaint", "painted", pixels=pixels, vae=["loader", 2], mask=mask, grow_mask_by=0)
    return positive, negative


def inpainted_conditioning(graph: Graph, positive: Any, negative: Any) -> tuple[Any, Any]:
    """A conditioning hook: the model's extra channels show picture and mask."""
    pixels, mask = load(graph, OTHER), right_half(graph)
    sources = {"vae": ["loader", 2], "pixels": pixels, "mask": mask, "noise_mask": True}
    made = graph.add("InpaintModelConditioning", "painted", positive=positive, negative=negative, **sources)
    return made[0], made[1]


def right_half(graph: Graph) -> Node:
    left = graph.add("SolidMask", value=0.0, width=64, height=64)
    right = graph.add("SolidMask", value=1.0, width=32, height=64)
    return graph.add("MaskComposite", destination=left, source=right, x=32, y=0, operation="add")


@pytest.mark.parametrize(("hook", "slot"), [(inpainted_latent, 0), (inpainted_conditioning, 2)])
def test_inpainting_works(stocked: Server, hook: Any, slot: int) -> None:
    without, with_prompt, zero = (
        picture(stocked, model, hook, checkpoint="tiny_inpaint.safetensors", latent_image=["painted", slot])
        for model in (untouched, Prompted(), Prompted(weight=0.0))
    )
    assert difference(with_prompt[:, 48:], without[:, 48:]) > ACTS
    assert difference(with_prompt[:, :16], without[:, :16]) < difference(with_prompt[:, 48:], without[:, 48:]) / 4
    assert np.array_equal(zero, without)


def lora_first(graph: Graph, model: Any) -> Node:
    return Prompted()(graph, lora(graph, model))


def lora_last(graph: Graph, model: Any) -> Node:
    return lora(graph, Prompted()(graph, model))


def lora(graph: Graph, model: Any) -> Node:
    """A LoRA on the model and on the text encoder that the graph encodes with."""
    file = {"lora_name": named("tiny.safetensors"), "strength_model": 1.0, "strength_clip": 1.0}
    node = graph.add("LoraLoader", "lora", model=model, clip=["loader", 1], **file)
    for text in ("positive", "negative"):
        graph[text]["inputs"]["clip"] = node[1]
    return node


def test_a_lora_before_or_after_gives_the_same_picture(
    stocked: Server, plain: np.ndarray, prompted: np.ndarray
) -> None:
    first, last, alone = (picture(stocked, hook) for hook in (lora_first, lora_last, lora))
    assert np.array_equal(first, last)
    assert_all_different([plain, prompted, alone, first])


def compiled(graph: Graph, model: Any) -> Node:
    return graph.add("TestCompileEager", model=model)


def compiled_first(graph: Graph, model: Any) -> Node:
    return Prompted()(graph, compiled(graph, model))


def compiled_last(graph: Graph, model: Any) -> Node:
    return compiled(graph, Prompted()(graph, model))


def test_a_compiled_model_makes_the_same_pictures_in_any_order(
    stocked: Server, plain: np.ndarray, prompted: np.ndarray
) -> None:
    for hook, wanted in (
        (compiled, plain),
        (compiled_first, prompted),
        (compiled, plain),
        (compiled_last, prompted),
        (compiled, plain),
    ):
        assert difference(picture(stocked, hook), wanted) < 0.01, hook.__name__


def test_a_batch_of_three_acts_in_each_picture(stocked: Server) -> None:
    without, with_prompt = (stocked.run(text_to_image(hook, batch=3)).images() for hook in (untouched, Prompted()))
    assert len(with_prompt) == 3
    assert all(difference(*pair) > ACTS for pair in zip(without, with_prompt, strict=True))
    assert_all_different(with_prompt)


def test_a_picture_that_is_not_square_works(stocked: Server) -> None:
    found = []
    for hook in (untouched, Prompted()):
        graph = text_to_image(hook)
        graph["latent"]["inputs"]["height"] = 96
        found.append(stocked.run(graph).image())
    assert found[1].shape == (96, 64, 3)
    assert difference(*found) > ACTS


@pytest.mark.parametrize("name", ["heun", "dpm_2", "dpmpp_2m_sde"])
def test_other_samplers_work(stocked: Server, name: str) -> None:
    without, with_prompt, zero = (
        picture(stocked, hook, sampler_name=name) for hook in (untouched, Prompted(), Prompted(weight=0.0))
    )
    assert difference(with_prompt, without) > ACTS
    assert np.array_equal(zero, without)


def described(graph: Graph, positive: Any, negative: Any) -> tuple[Node, Any]:
    """A conditioning hook: core's nodes read the reference with our encoder."""
    tower = graph.add("IPA_LoadVision", "reader", file=named("tower.safetensors"), activation="auto")
    image = load(graph, REFERENCE)
    output = graph.add("CLIPVisionEncode", "output", clip_vision=tower, image=image, crop="center")
    inputs: dict[str, Any] = {"clip_vision_output": output, "strength": 1.0, "noise_augmentation": 0.0}
    return graph.add("unCLIPConditioning", conditioning=positive, **inputs), negative


def test_core_nodes_read_pictures_with_our_encoder(stocked: Server, plain: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, conditioning_hook=described), plain)  # SD1.5 has no use for what they read


def test_a_model_that_stock_comfyui_knows_follows_the_reference(stocked: Server) -> None:
    specimens.add(stocked.base / "models", specimens.SD15)
    without, with_prompt, zero = (
        picture(stocked, hook, checkpoint=named("sd15.safetensors"), steps=2)
        for hook in (untouched, Prompted(adapter=named("sd15.safetensors")), Prompted(0.0, named("sd15.safetensors")))
    )
    assert difference(with_prompt, without) > ACTS
    assert np.array_equal(zero, without)

"""TABLE of the manners in which other packs patch a MODEL, each at its smallest: what they do, not their code.

A row is a function MODEL -> MODEL. `SAME` are those that change nothing by themselves.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.samplers
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from torch import Tensor

Manner = Callable[[Any], Any]
Options = dict[str, Any]

COND, UNCOND = 0, 1  # as a plain guider numbers them
ATTENTION = "diffusion_model.{}.attn2"
LAYER = "middle_block.1.transformer_blocks.0"


# Regions in one pass: rows of positive chunks repeated, once for each region


def stripes(regions: int, options: Options) -> Tensor:
    """Where each region is, (regions, 1, pixels, 1): upright stripes of the layer's grid that sum up to one."""
    height, width = options["activations_shape"][-2:]
    column = (torch.arange(width) * regions // width).clamp(max=regions - 1)
    masks = (column[None] == torch.arange(regions)[:, None]).float()
    return masks[:, None, None, :].expand(-1, 1, height, -1).reshape(regions, 1, height * width, 1)


def region_text(text: Tensor, region: int, alike: bool) -> Tensor:
    return text if alike else text.roll(region, dims=1) * (1 + 0.1 * region)


def coupled(model: Any, regions: int, alike: bool = True, tells: bool = False) -> Any:
    """Rows of q, k and v repeated in a patch of a layer's input, and put together in one of its output.

    alike: all regions have the text of the prompt; tells: the layer's cond_or_uncond names the repeated rows.
    """

    def repeat(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
        sides = options["cond_or_uncond"]
        options["neighbour_sides"] = list(sides)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for side, *parts in zip(sides, *(x.chunk(len(sides)) for x in (q, k, v)), strict=True):
            times = regions if side == COND else 1
            texts = [torch.cat([region_text(x, number, alike) for number in range(times)]) for x in parts[1:]]
            found.append((parts[0].repeat(times, 1, 1), *texts))
        if tells:
            options["cond_or_uncond"] = [side for side in sides for _ in range(regions if side == COND else 1)]
        q, k, v = (torch.cat(part) for part in zip(*found, strict=True))
        return q, k, v

    def put_together(out: Tensor, options: Options) -> Tensor:
        sides = options["neighbour_sides"]
        each = len(out) // sum(regions if side == COND else 1 for side in sides)
        parts = out.split([each * (regions if side == COND else 1) for side in sides])
        masks = stripes(regions, options).to(out)
        joined = [
            (part.reshape(regions, each, *part.shape[1:]) * masks).sum(0) if side == COND else part
            for side, part in zip(sides, parts, strict=True)
        ]
        return torch.cat(joined)

    clone = model.clone()
    clone.set_model_attn2_patch(repeat)
    clone.set_model_attn2_output_patch(put_together)
    return clone


def coupled_by_replacing(model: Any, regions: int) -> Any:
    """Regions of other texts with the attention itself replaced, which keeps the rows of q."""

    def replaced(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        sides, heads = options["cond_or_uncond"], options["n_heads"]
        masks, network = stripes(regions, options).to(q), options["neighbour_attention"]
        found = []
        for side, *parts in zip(sides, *(x.chunk(len(sides)) for x in (q, options["neighbour_text"])), strict=True):
            texts = [region_text(parts[1], number, False) for number in range(regions if side == COND else 1)]
            each = [optimized_attention(parts[0], network.to_k(text), network.to_v(text), heads) for text in texts]
            found.append((torch.stack(each) * masks).sum(0) if side == COND else each[0])
        return torch.cat(found)

    def text_of(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
        options["neighbour_text"] = k
        options["neighbour_attention"] = attention_at(model, (*options["block"], options["block_index"]))
        return q, k, v

    clone = model.clone()
    clone.set_model_attn2_patch(text_of)
    for block in blocks(model):
        clone.set_model_attn2_replace(replaced, *block)
    return clone


def blocks(model: Any) -> list[tuple[str, int]]:
    network = model.model.diffusion_model
    stages = {"input": network.input_blocks, "middle": [network.middle_block], "output": network.output_blocks}
    return [
        (stage, number)
        for stage, found in stages.items()
        for number, parts in enumerate(found)
        if any(hasattr(part, "transformer_blocks") for part in parts)
    ]


def attention_at(model: Any, address: tuple[str, int, int]) -> Any:
    network = model.model.diffusion_model
    stages = {"input": network.input_blocks, "middle": [network.middle_block], "output": network.output_blocks}
    parts = stages[address[0]][address[1]]
    return next(part for part in parts if hasattr(part, "transformer_blocks")).transformer_blocks[address[2]].attn2


# Modules


class Sharing(torch.nn.Module):
    """A module in place of a cross-attention, which it keeps out of sight."""

    def __init__(self, original: torch.nn.Module) -> None:
        super().__init__()
        self.kept = [original]

    def forward(self, x: Tensor, context: Tensor | None = None, value: Tensor | None = None, **more: Any) -> Tensor:
        original = self.kept[0].to(x.device)  # where the host loads a model, it does not see it
        found: Tensor = original(x, context=context, value=value, **more)
        return found


def with_module_exchanged(model: Any) -> Any:
    clone, key = model.clone(), ATTENTION.format(LAYER)
    clone.add_object_patch(key, Sharing(model.get_model_object(key)))
    return clone


def with_forward_exchanged(model: Any) -> Any:
    """The forward of a cross-attention for one that halves the text."""
    clone, key = model.clone(), ATTENTION.format(LAYER)
    original = model.get_model_object(key)

    def forward(x: Tensor, context: Tensor, value: Tensor | None = None, **more: Any) -> Tensor:
        found: Tensor = type(original).forward(original, x, context * 0.5, value, **more)
        return found

    clone.add_object_patch(f"{key}.forward", forward)
    return clone


# Pixels, attention, options


def with_pixels_merged(model: Any) -> Any:
    """Neighbouring pixels of a layer's input merged, and taken apart after it."""

    def merge(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
        return q.unflatten(1, (-1, 2)).mean(2) if q.shape[1] % 2 == 0 else q, k, v

    def take_apart(out: Tensor, options: Options) -> Tensor:
        height, width = options["activations_shape"][-2:]
        return out if out.shape[1] == height * width else out.repeat_interleave(2, dim=1)

    clone = model.clone()
    clone.set_model_attn2_patch(merge)
    clone.set_model_attn2_output_patch(take_apart)
    return clone


def with_text_halved(model: Any) -> Any:
    """Attention of a block replaced."""

    def replaced(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        return optimized_attention(q, k, v * 0.5, options["n_heads"])

    clone = model.clone()
    clone.set_model_attn2_replace(replaced, "middle", 0)
    return clone


def with_patches_of_each_call(model: Any) -> Any:
    """Attention of a block replaced by a wrapper of each call, which keeps no patches that were there."""

    def replaced(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        return optimized_attention(q, k, v * 0.5, options["n_heads"])

    def wrapper(executor: Any, *given: Any, **more: Any) -> Tensor:
        x, t, concat, text, control, options = given
        patched = {**options, "patches_replace": {"attn2": {("middle", 0): replaced}}}
        found: Tensor = executor(x, t, concat, text, control, patched, **more)
        return found

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "neighbour", wrapper)
    return clone


def with_attention_overridden(model: Any) -> Any:
    def override(usual: Any, *given: Any, **more: Any) -> Tensor:
        found: Tensor = usual(*given, **more)
        return found * 0.9

    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


def calling_with_copied_options(model: Any) -> Any:
    """The model called with options that were copied when the node ran, by a batching function of its own."""
    clone = model.clone()
    copied = copy.deepcopy(clone.model_options)

    def compute(given: Options) -> Any:
        parts = (given["model"], given["conds"], given["input"], given["sigma"])
        return comfy.samplers.calc_cond_batch(*parts, {**given["model_options"], **copied})

    clone.model_options["sampler_calc_cond_batch_function"] = compute
    return clone


def in_tiles(model: Any, at_once: int) -> Any:
    """Halves of the picture, so many of them in a batch."""

    def wrapper(apply_model: Any, given: Options) -> Tensor:
        x, t, more = given["input"], given["timestep"], dict(given["c"])
        tiles, found = list(x.split(x.shape[-1] // 2, dim=-1)), []
        for start in range(0, len(tiles), at_once):
            some = tiles[start : start + at_once]
            repeated = {k: torch.cat([v] * len(some)) if isinstance(v, Tensor) else v for k, v in more.items()}
            found += apply_model(torch.cat(some), torch.cat([t] * len(some)), **repeated).split(len(x))
        return torch.cat(found, dim=-1)

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone


def row_by_row(model: Any, tells: bool) -> Any:
    """Each row of a batch in a call of its own. tells: of which list it is."""

    def wrapper(apply_model: Any, given: Options) -> Tensor:
        x, t, more, found = given["input"], given["timestep"], given["c"], []
        for row in range(len(x)):
            part = {k: v[row : row + 1] if isinstance(v, Tensor) else v for k, v in more.items()}
            side = given["cond_or_uncond"][row * len(given["cond_or_uncond"]) // len(x)]
            told = {"cond_or_uncond": [side]} if tells else {}
            part["transformer_options"] = {**more["transformer_options"], **told}
            found.append(apply_model(x[row : row + 1], t[row : row + 1], **part))
        return torch.cat(found)

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone


def with_patches_inside(model: Any, address: tuple[Any, ...], keeps: bool) -> Any:
    """Attention replaced by a wrapper of the network itself. keeps: the patches that were there."""

    def replaced(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        return optimized_attention(q, k, v * 0.5, options["n_heads"])

    def wrapper(executor: Any, *given: Any, **more: Any) -> Tensor:
        *others, options = given
        there = options.get("patches_replace", {}).get("attn2", {}) if keeps else {}
        patched = {**options, "patches_replace": {"attn2": {**there, address: replaced}}}
        found: Tensor = executor(*others, patched, **more)
        return found

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "neighbour", wrapper)
    return clone


def coupled_inside(model: Any) -> Any:
    """Two equal regions, whose patches come with a wrapper of the network itself."""
    patches = coupled(model, 2).model_options["transformer_options"]["patches"]

    def wrapper(executor: Any, *given: Any, **more: Any) -> Tensor:
        *others, options = given
        there = options.get("patches", {})
        found: Tensor = executor(
            *others, {**options, "patches": {k: there.get(k, []) + patches.get(k, []) for k in there | patches}}, **more
        )
        return found

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "neighbour", wrapper)
    return clone


def with_rows_doubled_inside(model: Any) -> Any:
    """Every row twice inside the network, which nothing in a layer tells: no row can be known."""

    def twice(executor: Any, x: Tensor, t: Tensor, context: Tensor, *rest: Any, **more: Any) -> Tensor:
        found: Tensor = executor(*(torch.cat([part] * 2) for part in (x, t, context)), *rest, **more)
        return found[: len(x)]

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "neighbour", twice)
    return clone


SAME: dict[str, Manner] = {
    "nothing": lambda model: model.clone(),
    **{f"{n} equal regions": partial(coupled, regions=n) for n in (1, 2, 3, 4)},
    **{f"{n} equal regions, told": partial(coupled, regions=n, tells=True) for n in (2, 3)},
    "regions inside": coupled_inside,
    "row by row": partial(row_by_row, tells=False),
    "row by row, told": partial(row_by_row, tells=True),
    "module exchanged": with_module_exchanged,
    "options copied": calling_with_copied_options,
}
OTHERS: dict[str, Manner] = {
    "2 regions": partial(coupled, regions=2, alike=False),
    "3 regions": partial(coupled, regions=3, alike=False),
    "2 regions by replacing": partial(coupled_by_replacing, regions=2),
    "forward exchanged": with_forward_exchanged,
    "pixels merged": with_pixels_merged,
    "text halved": with_text_halved,
    "patches of each call": with_patches_of_each_call,
    "patches inside": partial(with_patches_inside, address=("middle", 0), keeps=True),
    "patches inside, of a layer": partial(with_patches_inside, address=("middle", 0, 0), keeps=True),
    "patches inside, alone": partial(with_patches_inside, address=("middle", 0), keeps=False),
    "attention overridden": with_attention_overridden,
    "tiles": partial(in_tiles, at_once=1),
    "two tiles at once": partial(in_tiles, at_once=2),
}
MANNERS = {**SAME, **OTHERS}

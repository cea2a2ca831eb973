"""TABLE of what is checked on a card. Each gives what was seen; Unchecked says why it could not be looked at here."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ...ip_adapter_core.adapters.keys_values import KeysValues
from ...ip_adapter_core.attention.grouped import FORM_OF, GroupedKV, ImageKV, add_grouped_, group_images
from ...ip_adapter_core.attention.reference import image_attention, plain_image_attention

HALVES = (torch.float16, torch.bfloat16)
_LAYERS = ((10, 640, 4096), (20, 1280, 1024))  # heads, inner width and pixels of SDXL's layers at 1024 px
_SMALL = ((2, 64, 64), (4, 128, 64))  # of what a processor computes in no time


class Unchecked(Exception):
    """Why a row could not be looked at."""


def card() -> str:
    """The card's name. Raises Unchecked where there is none."""
    if not torch.cuda.is_available():
        raise Unchecked("no CUDA device")
    return torch.cuda.get_device_name()


def device() -> torch.device:
    """The card, or the processor where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def halves() -> str:
    """Every form in fp16 and bf16 is as near to the formula in fp64 as an attention for each prompt."""
    worst = max(_against_each(*layer, dtype) for layer in _layers() for dtype in HALVES)
    if worst > 1.1:
        raise ValueError(f"errors are up to {worst:.2f} times those of an attention for each prompt")
    return f"errors at most {worst:.2f} times those of an attention for each prompt"


def equal() -> str:
    """Every form is the formula in fp32."""
    worst = 0.0
    for heads, inner, pixels in _layers():
        text, q, images = _given(heads, inner, pixels, torch.float32)
        found, expected = _by_form(text, q, images, heads), _truth(text, q, images, heads)
        worst = max(worst, ((found.double() - expected).norm() / expected.norm()).item())
    if worst > 1e-5:
        raise ValueError(f"off by {worst:.1e}")
    return f"off by {worst:.1e} at most"


def launches() -> str:
    """Kernels that are added to a call of SD1.5, and values that are read."""
    from ..adapters import prompt
    from ..cases import ours
    from ..launches import launches as counted
    from ..sites import sites
    from ..unets import hollow

    here = device().type
    FORM_OF["cpu"] = FORM_OF["cuda"]
    model, where = hollow("SD1.5", torch.float16 if here == "cuda" else torch.float32, here), sites("SD1.5", 256)
    plain = counted(model, where, 256)
    more = [counted(ours(model, [prompt(model, 4)] * count), where, 256) - plain for count in (1, 4)]
    if any(one.kernels > 48 or one.reads for one in more):
        raise ValueError(f"one adapter {more[0]}, four {more[1]}; at most 48 kernels and no read were meant")
    return f"{more[0].kernels} for one adapter, {more[1].kernels} for four, nothing read"


def reads() -> str:
    """CUDA's own word on what a step waits for."""
    card()
    from ..adapters import prompt
    from ..cases import ours
    from ..measurements.cuda import reads as counted
    from ..unets import unet

    model = unet("SD1.5", torch.float16, "cuda")
    more = counted(ours(model, [prompt(model, 4)] * 2)) - counted(model)
    if more:
        raise ValueError(f"{more} more in each step")
    return "none more in a step"


def loading() -> str:
    """An adapter is read, loaded by the host's patcher, and makes the prompt that the network makes by itself."""
    import tempfile
    from pathlib import Path

    import comfy.memory_management as memory

    from fabricate import adapters

    from ...ip_adapter_core.adapters.loading import load
    from ...ip_adapter_core.prompts.prompt import image_prompt
    from ...nodes.host.adapters import read

    given = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        file = adapters.save(Path(folder) / "a.safetensors", adapters.adapter(**adapters.KINDS["base"]))
        found, expected = (
            read("a", file).prompt((given,), (given * 0,)),
            image_prompt(load(file), (given,), (given * 0,)),
        )
        pairs = zip(found.parts[0].keys_values, expected.parts[0].keys_values, strict=True)
        worst = max((ours.keys.cpu() - theirs.keys).abs().max().item() for ours, theirs in pairs)
    if worst > 1e-3:
        raise ValueError(f"K' is off by {worst:.1e}")
    return f"K' off by {worst:.1e}, DynamicVRAM {'on' if getattr(memory, 'aimdo_enabled', False) else 'off'}"


def dynamic() -> str:
    """The same where DynamicVRAM holds the weights, as it does on NVIDIA by default."""
    card()
    import comfy.memory_management as memory

    if not getattr(memory, "aimdo_enabled", False):
        raise Unchecked("this ComfyUI did not switch DynamicVRAM on")
    return loading()


def small_world() -> str:
    """The small world from reference to picture: pictures show the colour and background of their references."""
    from ...ip_adapter_core.small_world import drawing
    from ..small_world import host, sampling, scores

    subjects = scores.subjects(12)
    wish = sampling.Wish([""] * len(subjects.scenes), host.features(drawing.draw(subjects.scenes)), "plus")
    read = scores.agreement(sampling.sampled(wish), subjects.scenes)
    if read["colour"] < 0.75 or read["background"] < 0.75:
        raise ValueError(f"only {read['colour']:.0%} of the colours and {read['background']:.0%} of the backgrounds")
    return f"{read['colour']:.0%} of the colours, {read['background']:.0%} of the backgrounds"


def table() -> str:
    """SDXL at 1024 px: what a step takes longer, eager in fp16 and bf16, and compiled."""
    name = card()
    from ..measurements.cuda import measure
    from ..report import number
    from ..settings import QUICK

    told = [f"{figure.name.split(',')[0]} {number(figure)}" for figure in measure(QUICK).figures]
    return f"{name}: " + "; ".join(told)


def graphs() -> str:
    """The same as CUDA graphs, which torch.compile makes with reduce-overhead."""
    card()
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    from ..adapters import prompt
    from ..cases import ours
    from ..measurements.cuda import step_times
    from ..timing import spread
    from ..unets import unet

    model, taken = unet("SDXL", torch.float16, "cuda"), []
    for case in (model, ours(model, [prompt(model, 4)])):
        clone = case.clone()
        set_torch_compile_wrapper(model=clone, backend="inductor", mode="reduce-overhead")
        taken.append(1000 * spread(step_times(clone)[4:]).median)
    return f"{taken[0]:.1f} ms a step without a prompt, {taken[1]:.1f} ms with one"


def memory() -> str:
    """The most memory of a step with four adapters, beside that of the plain model."""
    card()
    from ..adapters import prompt
    from ..cases import ours
    from ..sampling import sample
    from ..unets import unet

    model, peaks = unet("SDXL", torch.float16, "cuda"), []
    for case in (model, ours(model, [prompt(model, 4)]), ours(model, [prompt(model, 4)] * 4)):
        torch.cuda.reset_peak_memory_stats()
        sample(case, 1024, 2)
        peaks.append(torch.cuda.max_memory_allocated() / 1e6)
    return f"{peaks[0]:.0f} MB; {peaks[1] - peaks[0]:+.0f} with one, {peaks[2] - peaks[0]:+.0f} with four"


def fused() -> str:
    """The fused kernel equals the formula, and how long it takes beside the shipped forms."""
    card()
    from .. import fused as kernel

    if not kernel.available(device()):
        raise Unchecked("no Triton, or a card that is too old")
    return "; ".join(_fused_beside(*layer) for layer in _LAYERS)


def _fused_beside(heads: int, inner: int, pixels: int) -> str:
    from .. import fused as kernel

    _, q, images = _given(heads, inner, pixels, torch.float16)
    k = torch.randn(2, 77, inner, device=q.device, dtype=q.dtype)
    whole = partial(kernel.attention, q, k, k, [(*one.kv, None, None) for one in images], heads)

    def shipped() -> Tensor:
        return _by_form(image_attention(q, KeysValues(k, k), heads), q, images, heads)

    expected = _truth(image_attention(q, KeysValues(k, k), heads), q, images, heads)
    if (whole().double() - expected).norm() / expected.norm() > 0.01:
        raise ValueError("it is not the formula")
    return f"{pixels} pixels: {_milliseconds(whole):.3f} ms, shipped {_milliseconds(shipped):.3f}"


def _milliseconds(action: Callable[[], object], repeats: int = 50) -> float:
    for _ in range(repeats):
        action()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        action()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - begun) / repeats


def _layers() -> tuple[tuple[int, int, int], ...]:
    return _LAYERS if torch.cuda.is_available() else _SMALL


def _given(heads: int, inner: int, pixels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, list[ImageKV]]:
    """The text's result, queries, and three prompts of four tokens whose scores are wide, on the device."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int, spread: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=random) * spread).to(device(), dtype)

    images = [ImageKV(KeysValues(draw(2, 4, inner, spread=math.sqrt(6)), draw(2, 4, inner))) for _ in range(3)]
    return draw(2, pixels, inner), draw(2, pixels, inner, spread=math.sqrt(6)), images


def _by_form(text: Tensor, q: Tensor, images: list[ImageKV], heads: int) -> Tensor:
    FORM_OF["cpu"] = FORM_OF["cuda"]
    attended = text.clone()
    for one in group_images(images, heads):
        assert isinstance(one, GroupedKV)
        attended = add_grouped_(attended, q, one, heads)
    return attended


def _truth(text: Tensor, q: Tensor, images: list[ImageKV], heads: int) -> Tensor:
    wide = [[part.double() for part in one.kv] for one in images]
    return text.double() + sum(plain_image_attention(q.double(), *pair, heads) for pair in wide)


def _against_each(heads: int, inner: int, pixels: int, dtype: torch.dtype) -> float:
    text, q, images = _given(heads, inner, pixels, dtype)
    each = text
    for one in images:
        each = each + image_attention(q, one.kv, heads)
    expected = _truth(text, q, images, heads)
    ours, usual = ((found.double() - expected).norm() for found in (_by_form(text, q, images, heads), each))
    return (ours / usual).item()


ROWS: dict[str, Callable[[], str]] = {
    "forms in fp16 and bf16": halves,
    "forms in fp32": equal,
    "kernels added to a call of SD1.5": launches,
    "waits for the device": reads,
    "loading an adapter": loading,
    "loading with DynamicVRAM": dynamic,
    "small world, from reference to picture": small_world,
    "SDXL at 1024 px, added to a step": table,
    "SDXL as CUDA graphs": graphs,
    "largest memory, SDXL at 1024 px": memory,
    "fused kernel": fused,
}


def look(name: str) -> tuple[str, str]:
    """What became of a row, ("right", "wrong" or "not checked", what was seen)."""
    warnings.simplefilter("ignore")
    try:
        return "right", ROWS[name]()
    except Unchecked as why:
        return "not checked", str(why)
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}".splitlines()[0]

"""The fused attention is the plain formula in Triton's interpreter, and compiles for GPUs that need not be there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.benchmarks import fused, fused_kernel
from comfyui_ip_adapter.benchmarks.fused import ImageGroup, available, qualifies
from comfyui_ip_adapter.ip_adapter_core.attention.reference import apply_mask, plain_image_attention
from package import SUPPORT

HEADS = 2
CPU = torch.device("cpu")
CONSUMER_CARD = 99 * 1024  # bytes of shared memory that a program may have there

Layer = tuple[Tensor, Tensor, Tensor]
Attention = Callable[..., Tensor]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with PyTorch for CUDA on Linux")


@pytest.fixture(scope="module")
def attention() -> Iterator[Attention]:
    """The fused attention in a process of its own: triton looks once, as it is imported, whether it is to interpret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        pool = ProcessPoolExecutor(1, get_context("spawn"), import_module, ("package",))
        assert pool.submit(available, CPU).result()
    with pool:
        yield lambda *given, **more: pool.submit(fused.attention, *given, **more).result()


def in_child(code: str, **environment: str) -> str:
    """What a new process prints that has the package at hand."""
    command = [sys.executable, "-c", f"import package, torch\nfrom test_fused import *\n{code}"]
    variables = os.environ | {"PYTHONPATH": str(SUPPORT)} | environment
    found = subprocess.run(command, env=variables, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def layer(
    batch: int = 2, pixels: int = 35, width: int = 40, text: int = 77, dtype: torch.dtype = torch.float32
) -> Layer:
    sizes = (pixels, text, text)
    q, k, v = (random(batch, size, HEADS * width, seed=seed, dtype=dtype) for seed, size in enumerate(sizes))
    return q, k, v


def group(
    rows: int = 1,
    tokens: int = 4,
    width: int = 40,
    attn_bias: Tensor | None = None,
    mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> ImageGroup:
    keys, values = (random(rows, tokens, HEADS * width, seed=tokens + seed, dtype=dtype) for seed in (3, 4))
    return keys, values, attn_bias, mask


def a_mask(rows: int, pixels: int = 35) -> Tensor:
    return torch.rand(rows, pixels, 1, generator=torch.Generator().manual_seed(5))


def plain(q: Tensor, k: Tensor, v: Tensor, images: Sequence[ImageGroup]) -> Tensor:
    """The formula, in fp32, with the rows of images repeated."""
    found = plain_image_attention(q.float(), k.float(), v.float(), HEADS)
    for keys, values, attn_bias, mask in images:
        keys, values = (x.float().repeat_interleave(len(q) // len(x), dim=0) for x in (keys, values))
        added = plain_image_attention(q.float(), keys, values, HEADS, attn_bias)
        found = found + (added if mask is None else apply_mask(added, mask))
    return found


def check(attention: Attention, given: Layer, images: Sequence[ImageGroup]) -> None:
    """The fused result is the plain one, within the rounding of its dtype."""
    assert qualifies(*given, images, HEADS)
    found, eps = attention(*given, images, HEADS), torch.finfo(given[0].dtype).eps
    assert found.dtype == given[0].dtype
    least = max(4 * eps, 1e-5)
    torch.testing.assert_close(found.float(), plain(*given, images), atol=least, rtol=eps)


# The formula


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [40, 64, 80, 160])
def test_it_equals_the_plain_formula(attention: Attention, width: int, dtype: torch.dtype) -> None:
    images = [
        group(1, 4, width, mask=a_mask(1).to(dtype), dtype=dtype),
        group(2, 16, width, torch.linspace(-1, 1, 16), dtype=dtype),
    ]
    check(attention, layer(width=width, dtype=dtype), images)


@needs_triton
@pytest.mark.parametrize("pixels", [1, 35, 64, 77])
def test_any_number_of_pixels_will_do(attention: Attention, pixels: int) -> None:
    check(attention, layer(pixels=pixels), [group(mask=a_mask(1, pixels))])


@needs_triton
@pytest.mark.parametrize("text", [1, 77, 154, 308])
def test_any_number_of_text_tokens_will_do(attention: Attention, text: int) -> None:
    check(attention, layer(text=text), [group()])


@needs_triton
@pytest.mark.parametrize("tokens", [(4,), (16, 4), (4, 4, 16), (1, 16, 5, 64)])
def test_every_group_has_a_softmax_of_its_own(attention: Attention, tokens: tuple[int, ...]) -> None:
    given, images = layer(), [group(1, number) for number in tokens]
    check(attention, given, images)
    keys, values = (torch.cat(x, dim=1) for x in zip(*(image[:2] for image in images), strict=True))
    together = plain(*given, [(keys, values, None, None)])
    assert len(tokens) == 1 or not torch.allclose(plain(*given, images), together)


@needs_triton
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_neighbouring_rows_share_keys_values_and_masks(attention: Attention, rows: int) -> None:
    check(attention, layer(4), [group(rows), group(2, 16, mask=a_mask(rows))])


@needs_triton
def test_tokens_count_as_often_as_they_are_said_to(attention: Attention) -> None:
    counts = torch.tensor([2.0, 1.0, 0.5, 0.0])
    check(attention, layer(), [group(1, 4, attn_bias=counts.log()), group(1, 16)])


@needs_triton
def test_without_image_groups_the_text_is_left(attention: Attention) -> None:
    check(attention, layer(), [])


@needs_triton
def test_a_single_token_is_added_whatever_the_query(attention: Attention) -> None:
    given, image = layer(), group(2, 1)
    found = attention(*given, [image], HEADS) - attention(*given, [], HEADS)
    torch.testing.assert_close(found, image[1].expand_as(found), atol=1e-5, rtol=0)


@needs_triton
def test_a_black_mask_leaves_the_text_and_a_white_one_all(attention: Attention) -> None:
    given = layer()
    black, white = (group(mask=torch.full((1, 35, 1), value)) for value in (0.0, 1.0))
    assert torch.equal(attention(*given, [black], HEADS), attention(*given, [], HEADS))
    assert torch.equal(attention(*given, [white], HEADS), attention(*given, [group()], HEADS))


@needs_triton
def test_high_scores_do_not_overflow(attention: Attention) -> None:
    q, k, v = layer()
    images = [group(1, 16)]
    found, expected = attention(q * 50, k, v, images, HEADS), plain(q * 50, k, v, images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)  # scores of 100 have fewer digits behind the point


@needs_triton
def test_a_scale_can_be_given(attention: Attention) -> None:
    q, k, v = layer()
    images = [group(1, 16)]
    found = attention(q, k, v, images, HEADS, 3 * 40**-0.5)
    torch.testing.assert_close(found, plain(q * 3, k, v, images), atol=1e-5, rtol=0)


@needs_triton
def test_parts_of_larger_tensors_are_read_where_they_lie(attention: Attention) -> None:
    q, k, v = random(112, 2, 3 * HEADS * 40).transpose(0, 1).chunk(3, dim=-1)
    keys, values = random(1, 9, 4 * HEADS * 40, seed=3)[:, ::2].chunk(4, dim=-1)[1:3]
    attn_bias, mask = torch.linspace(-1, 1, 10)[::2], a_mask(2, 70)[:, ::2]
    given = (q[:, :35], k[:, 35:], v[:, 35:])
    assert not any(x.is_contiguous() for x in (*given, keys, values, attn_bias, mask))
    check(attention, given, [(keys, values, attn_bias, mask)])


@needs_triton
def test_images_of_another_precision_are_read_in_that_of_the_query(attention: Attention) -> None:
    check(attention, layer(dtype=torch.float16), [group(), group(1, 16, dtype=torch.bfloat16)])


# What qualifies


def test_what_layers_of_published_models_have_qualifies() -> None:
    eight = [group(1, 16, 64, mask=a_mask(1), dtype=torch.float16)] * 8
    assert qualifies(*layer(4, width=64, text=308, dtype=torch.float16), eight, HEADS)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(layer(width=264), id="wide heads"),
        pytest.param(layer(text=309), id="much text"),
        pytest.param(layer(pixels=0), id="no pixels"),
        pytest.param(layer(dtype=torch.float64), id="doubles"),
        pytest.param(tuple(x[0] for x in layer()), id="no batch"),
        pytest.param((*layer()[:2], layer()[2].half()), id="two dtypes"),
        pytest.param((*layer()[:2], layer()[2][:, 1:]), id="a value short"),
        pytest.param((layer(4)[0], *layer()[1:]), id="text of other rows"),
        pytest.param((layer()[0].mT.contiguous().mT, *layer()[1:]), id="channels apart"),
        pytest.param((layer()[0].requires_grad_(), *layer()[1:]), id="gradients"),
        pytest.param((layer()[0].to("meta"), *layer()[1:]), id="two devices"),
    ],
)
def test_layers_the_kernel_cannot_do_do_not_qualify(given: Layer) -> None:
    assert not qualifies(*given, [group(width=given[0].shape[-1] // HEADS)], HEADS)


def test_heads_that_do_not_divide_the_layer_do_not_qualify() -> None:
    assert not qualifies(*layer(), [], 3)


KEYS, VALUES = group(2)[:2]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(group(1, 65), id="many tokens"),
        pytest.param(group(3), id="rows that do not divide the batch"),
        pytest.param(group(2, width=64), id="another width"),
        pytest.param((KEYS, VALUES[:, 1:], None, None), id="a value short"),
        pytest.param((KEYS[0], VALUES[0], None, None), id="no rows"),
        pytest.param((KEYS, VALUES.mT.contiguous().mT, None, None), id="channels apart"),
        pytest.param((KEYS.int(), VALUES, None, None), id="integers"),
        pytest.param((KEYS, VALUES, torch.zeros(5), None), id="attn_bias of other tokens"),
        pytest.param((KEYS, VALUES, None, a_mask(3)), id="a mask of other rows"),
        pytest.param((KEYS, VALUES, None, a_mask(1, 36)), id="a mask of other pixels"),
        pytest.param((KEYS, VALUES.clone().requires_grad_(), None, None), id="gradients"),
        pytest.param((KEYS, VALUES, None, a_mask(1).to("meta")), id="another device"),
    ],
)
def test_image_groups_the_kernel_cannot_do_do_not_qualify(image: ImageGroup) -> None:
    assert qualifies(*layer(), [(KEYS, VALUES, None, None)], HEADS)
    assert not qualifies(*layer(), [(KEYS, VALUES, None, None), image], HEADS)


def test_nine_groups_do_not_qualify() -> None:
    assert qualifies(*layer(), [group()] * 8, HEADS)
    assert not qualifies(*layer(), [group()] * 9, HEADS)


def test_without_gradients_what_could_learn_qualifies() -> None:
    q, k, v = layer()
    with torch.no_grad():
        assert qualifies(q.requires_grad_(), k, v, [group()], HEADS)


# Where it is available


def test_it_is_not_available_on_the_cpu() -> None:
    assert not available(CPU)


HIDDEN = "sys.modules['triton'] = None\nprint(available(CPU), qualifies(*layer(), [group()], HEADS))"
OLD = "sys.modules['triton'] = SimpleNamespace(__version__='3.3.1')\nprint(available(CPU))"


def test_without_triton_everything_else_works() -> None:
    assert in_child(HIDDEN, TRITON_INTERPRET="1") == "False True\n"


def test_it_is_not_available_with_an_old_triton() -> None:
    assert in_child(OLD, TRITON_INTERPRET="1") == "False\n"


def test_triton_is_not_imported_before_it_is_needed() -> None:
    assert in_child("qualifies(*layer(), [group()], HEADS)\nprint('triton' in sys.modules)") == "False\n"


# Compiled


def pretend(capability: int) -> None:
    """Let Triton compile for a GPU that is not there; launches do nothing."""
    triton, compiler = import_module("triton"), import_module("triton.backends.compiler")
    utils = SimpleNamespace(
        get_device_properties=lambda device: {"max_shared_mem": CONSUMER_CARD},
        load_binary=lambda *given: (1, 1, 0, 0, 1024),
        unload_module=lambda module: None,
    )
    driver = SimpleNamespace(
        get_current_target=lambda: compiler.GPUTarget("cuda", capability, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
        launcher_cls=lambda *given: lambda *launch: None,
        utils=utils,
    )
    triton.runtime.driver.set_active(driver)


def compile_layers(*dtypes: torch.dtype) -> None:
    """Call it as sampling would, with everything a group can have."""
    for dtype in dtypes:
        for width in (40, 80, 160):
            images = [group(1, 4, width, torch.zeros(4), a_mask(1), dtype), group(2, 16, width, dtype=dtype)]
            fused.attention(*layer(width=width, dtype=dtype), images, HEADS)
    kernels = fused_kernel.kernel().device_caches[0][0].values()
    print(*sorted({kernel.name for kernel in kernels}), len(kernels))


@needs_triton
@pytest.mark.parametrize(
    ("capability", "dtypes"),
    [(86, "torch.float16"), (90, "torch.float16, torch.float32"), (120, "torch.bfloat16")],
)
def test_it_compiles_for_gpus_and_fits_their_shared_memory(capability: int, dtypes: str, tmp_path: Path) -> None:
    found = in_child(f"pretend({capability})\ncompile_layers({dtypes})", TRITON_CACHE_DIR=str(tmp_path))
    assert found == f"_attend {3 * len(dtypes.split(', '))}\n"

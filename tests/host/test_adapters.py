"""Adapters in ComfyUI's hands: the dtypes that files are stored in."""

from pathlib import Path

import pytest
import torch

from fabricate import adapters

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["base", "plus"])
def test_a_file_of_few_bits_gives_the_prompt_of_its_own_numbers(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    from comfyui_ip_adapter.nodes.host.adapters import read

    nested = adapters.adapter(**adapters.KINDS[kind])
    rounded = {part: {name: value.to(dtype).float() for name, value in inner.items()} for part, inner in nested.items()}
    given = torch.randn(1, 5, 64) if kind == "plus" else torch.randn(1, 32)
    found, expected = (
        read("a", adapters.save(tmp_path / f"{stored}.safetensors", weights, stored)).prompt((given,), (given * 0,))
        for weights, stored in ((nested, dtype), (rounded, torch.float32))
    )
    for ours, theirs in zip(found.parts[0].keys_values, expected.parts[0].keys_values, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.values, theirs.values, atol=1e-5, rtol=1e-5)

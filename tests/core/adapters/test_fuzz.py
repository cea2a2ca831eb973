"""Thirteen thousand mutated adapter files: each is read or refused; nothing else ever happens."""

import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, load
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import entries
from fabricate import adapters

HEADERS = 9000
FILES = {"base": 1500, "FaceID": 500}  # as many .bin as .safetensors files
SMALL: dict[str, Any] = {"widths": (8, 8, 16), "context": 8, "depth": 1}
SMALLEST: dict[str, dict[str, Any]] = {
    "PuLID v1.1": {"depth": 5},
    "Anima SigLIP2": {"context": 768},
}  # where that is more
NAMES = [
    *("", ".", "image_proj.", "ip_adapter.", "adapter_modules.1.to_k_ip.weight", "image_proj.latents"),
    *("ip_adapter.-1.to_k_ip.weight", "ip_adapter.99999999999.to_k_ip.weight", "ip_adapter.999999999.to_k_ip.weight"),
    *("ip_adapter.2.to_q_lora.down.weight", "ip_adapter.7.to_out_lora.up.weight", "ip_adapter.3.to_k_lora.alpha"),
]
SIZES = [0, -1, 1, 3, 2**31, 2**63 - 1, 10**30, 1.5, "4", None, True, []]

Rows = dict[str, Any]


def contents(suffix: str, kind: str) -> bytes:
    """An intact small adapter file."""
    nested = adapters.adapter(**adapters.KINDS[kind] | SMALL | SMALLEST.get(kind, {}))
    buffer = io.BytesIO()
    if suffix == ".bin":
        torch.save(nested, buffer)
        return buffer.getvalue()
    from safetensors.torch import save

    return save(adapters.flat(nested))


def split(content: bytes) -> tuple[Rows, int]:
    """The header, and how many bytes of data follow it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), len(content) - 8 - length


def write(path: Path, header: Any, data: int) -> None:
    """A file with this header and so many bytes that nobody looks at."""
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + data)


def drop(rows: Rows, chance: random.Random) -> None:
    del rows[chance.choice(list(rows))]


def rename(rows: Rows, chance: random.Random) -> None:
    name = chance.choice(list(rows))
    rows[chance.choice([*NAMES, name[::-1], name.replace("1", "01"), name + ".x", name.upper()])] = rows.pop(name)


def exchange(rows: Rows, chance: random.Random) -> None:
    one, other = chance.choice(list(rows)), chance.choice(list(rows))
    rows[one], rows[other] = rows[other], rows[one]


def resize(rows: Rows, chance: random.Random) -> None:
    row = rows[chance.choice(list(rows))]
    if isinstance(row, dict) and isinstance(row.get("shape"), list):
        row["shape"] = [chance.choice(SIZES) for _ in range(chance.randrange(5))]


def spoil(rows: Rows, chance: random.Random) -> None:
    row = rows[chance.choice(list(rows))]
    if isinstance(row, dict):
        row[chance.choice(["shape", "dtype", "data_offsets"])] = chance.choice([None, -1, [], {}, "x", [0], [9, 1]])


def replace_row(rows: Rows, chance: random.Random) -> None:
    rows[chance.choice(list(rows))] = chance.choice([None, 1, "x", [], {}, {"shape": []}])


MUTATIONS: list[Callable[[Rows, random.Random], None]] = [drop, rename, exchange, resize, spoil, replace_row]


def is_read_or_refused(path: Path, read: Callable[[Path], object]) -> bool:
    """Whether a file was read; any other exception than the refusal fails the test."""
    try:
        read(path)
        return True
    except UnsupportedCheckpoint:
        return False


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("kind", adapters.KINDS)
def test_mutated_headers_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    chance = random.Random(1)
    content = contents(".safetensors", kind)
    path = tmp_path / "x.safetensors"
    write(path, *split(content))
    outcomes = [is_read_or_refused(path, lambda path: identify(entries(path)))]
    assert outcomes == [True]
    for _ in range(HEADERS // len(adapters.KINDS)):
        header, data = split(content)
        for _ in range(chance.choice([1, 1, 2, 5])):
            if header:
                chance.choice(MUTATIONS)(header, chance)
        write(path, header, data)
        outcomes.append(is_read_or_refused(path, lambda path: identify(entries(path))))
    assert sum(outcomes) < len(outcomes) / 2  # some mutations only exchange equal rows


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about what the mutated pickles ask for
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    chance = random.Random(2)
    content = contents(suffix, kind)
    path = tmp_path / f"x{suffix}"
    outcomes = []
    for _ in range(FILES[kind]):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 4, 32])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed[: chance.choice([None, None, chance.randrange(len(changed))])])
        outcomes.append(is_read_or_refused(path, load))
    assert 0 < sum(outcomes) < len(outcomes)

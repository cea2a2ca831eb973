"""Files of embeds of IPAdapter Plus: what is in them is read, and nothing in them is ever run."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.adapters.identity import Identity
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.prompts.ipadpt import describe, embeds, read_inputs, save
from fabricate import adapters
from payload import Payload

EMBEDS = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
HIDDEN = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(0))


def saved(folder: Path, held: Any, **options: Any) -> Path:
    torch.save(held, folder / "e.ipadpt", **options)
    return folder / "e.ipadpt"


def identity(folder: Path, kind: str) -> Identity:
    nested = adapters.adapter(**adapters.KINDS[kind])
    return core.load(adapters.save(folder / "adapter.safetensors", nested)).identity()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("kind", "found"), [("base", EMBEDS), ("plus", HIDDEN), ("full face", HIDDEN)])
def test_the_file_gives_what_the_adapter_reads(tmp_path: Path, kind: str, found: Tensor, old: bool) -> None:
    path = saved(tmp_path, found, _use_new_zipfile_serialization=not old)
    (read,) = read_inputs(path, identity(tmp_path, kind))
    assert torch.equal(read, found)


def test_numbers_of_other_dtypes_become_float32(tmp_path: Path) -> None:
    found = embeds(saved(tmp_path, EMBEDS.half().requires_grad_())).embeds
    assert found is not None
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(found, EMBEDS.half().float())


def test_a_file_is_described_by_what_is_in_it(tmp_path: Path) -> None:
    assert describe(embeds(saved(tmp_path, EMBEDS))) == "embeds of width 32 (2 images)"
    assert describe(embeds(saved(tmp_path, HIDDEN))) == "hidden of width 64 (1 image)"


@pytest.mark.parametrize("held", [lambda payload: payload, lambda payload: {"embeds": EMBEDS, "more": payload}])
@pytest.mark.parametrize("bare", [False, True])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, held: Any, bare: bool) -> None:
    content = held(Payload(tmp_path / "executed"))
    path = saved(tmp_path, content)
    if bare:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(
        UnsupportedCheckpoint, match=r"^Do not use it .* e\.ipadpt is a pickle that wants to run code, .* nothing in it"
    ):
        embeds(path)
    assert not (tmp_path / "executed").exists()
    if not bare:
        torch.load(path, weights_only=False)
        assert (tmp_path / "executed").exists()  # it would have


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(
    ("held", "says"),
    [
        ([EMBEDS], "the one tensor .* holds a list"),
        ({"embeds": EMBEDS}, "holds a dict"),
        (None, "holds a NoneType"),
        (EMBEDS.long(), "holds a Tensor of int64"),
        (EMBEDS.to_sparse(), "holds a Tensor of float32"),
        (torch.zeros(32), r"with embeds .* of shape \[32\]"),
        (torch.zeros(2, 1, 5, 64), r"of shape \[2, 1, 5, 64\]"),
        (torch.zeros(0, 32), r"of shape \[0, 32\]"),
        (EMBEDS * torch.nan, "values that are no numbers"),
    ],
)
def test_what_is_no_embeds_is_refused_by_name(tmp_path: Path, held: Any, says: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=rf"^(?=[A-Z].*e\.ipadpt ).*{says}"):
        embeds(saved(tmp_path, held))


def test_a_file_cut_short_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, EMBEDS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 53):
        path.write_bytes(whole[:length])
        with pytest.raises(UnsupportedCheckpoint, match=r"^Download e\.ipadpt again; it is "):
            embeds(path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"^Choose another file; gone\.ipadpt does not exist \(looked at "):
        embeds(tmp_path / "gone.ipadpt")


@pytest.mark.parametrize(
    ("kind", "held", "says"),
    [
        (
            "base",
            torch.zeros(1, 1024),
            "holds embeds of width 1024 .1 image., and this base adapter reads embeds of width 32",
        ),
        ("base", HIDDEN, "holds hidden of width 64 .*reads embeds of width 32"),
        (
            "plus",
            EMBEDS,
            "holds embeds of width 32 .*this plus adapter reads hidden of width 64 .an encoder of width 64.",
        ),
        ("plus", HIDDEN[..., :32], "holds hidden of width 32"),
        ("FaceID", EMBEDS, r"^Use Face Embedding .*reads faces, which files of embeds such as e\.ipadpt do not hold"),
        ("portrait unnorm", HIDDEN, "reads faces"),
        ("FaceID-Plus v2", HIDDEN, "reads faces"),
    ],
)
def test_what_the_adapter_does_not_read_is_refused_naming_both(
    tmp_path: Path, kind: str, held: Tensor, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        read_inputs(saved(tmp_path, held), identity(tmp_path, kind))


# Saving


@pytest.mark.parametrize("found", [EMBEDS, HIDDEN], ids=["embeds", "hidden"])
def test_what_is_saved_is_one_bare_tensor_and_is_read_bit_for_bit(tmp_path: Path, found: Tensor) -> None:
    path = tmp_path / "new" / "e.ipadpt"
    save(found, path)
    assert torch.equal(torch.load(path, weights_only=True), found)
    (read,) = (tensor for tensor in embeds(path) if tensor is not None)
    assert torch.equal(read, found)
    assert list(path.parent.iterdir()) == [path]


def test_the_dtype_is_saved_and_the_rest_of_a_larger_tensor_is_not(tmp_path: Path) -> None:
    large = torch.randn(1000, 32, requires_grad=True).half()
    save(large[:1], tmp_path / "e.ipadpt")
    read = torch.load(tmp_path / "e.ipadpt", weights_only=True)
    assert read.dtype == torch.float16
    assert not read.requires_grad
    assert torch.equal(read, large[:1].detach())
    assert (tmp_path / "e.ipadpt").stat().st_size < large.nbytes / 10


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, EMBEDS)
    before = path.read_bytes()

    def fail(held: object, unfinished: Path) -> None:
        unfinished.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(HIDDEN, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

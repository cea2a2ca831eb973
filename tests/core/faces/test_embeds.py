"""Ready-made face embeddings: every form that other nodes give, files, and what is refused."""

import io
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from insightface.app.common import Face
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.faces.embeds import embeddings, read

ONE = np.random.default_rng(0).normal(size=512).astype(np.float32) * 20
FORMS: dict[str, Any] = {
    "array": ONE,
    "doubles": ONE.astype(np.float64),
    "tensor": torch.from_numpy(ONE),
    "half precision on a graph": torch.from_numpy(ONE).half().requires_grad_(),
    "a picture's axes": torch.from_numpy(ONE)[None, None],
    "numbers": ONE.tolist(),
    "insightface's face": Face(embedding=ONE, bbox=np.zeros(4)),
    "dictionary": {"embedding": torch.from_numpy(ONE)},
    "object": SimpleNamespace(embedding=ONE),
    "list": [Face(embedding=ONE)],
    "list in a list": ([{"embedding": ONE}],),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_embedding_is_understood(form: str) -> None:
    found = embeddings(FORMS[form])
    assert found.shape == (1, 512)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert np.allclose(found[0].numpy(), ONE, rtol=1e-3, atol=1e-2)


def test_several_faces_keep_their_order() -> None:
    found = embeddings([Face(embedding=ONE), torch.from_numpy(np.stack([ONE + 1, ONE + 2])), {"embedding": ONE + 3}])
    assert np.allclose(found.numpy(), np.stack([ONE + step for step in range(4)]))


REFUSED: dict[str, tuple[Any, str]] = {
    "width": (torch.zeros(2, 1024), r"of shape \(…, 512\); found 2x1024"),
    "none": (np.zeros((0, 512)), "found 0x512"),
    "number": (torch.tensor(1.0), "found a single number"),
    "empty list": ([], "found an empty list"),
    "words": ("face.png", "found a str without it"),
    "face without": (Face(bbox=np.zeros(4)), "found a Face without it"),
    "NaN": (torch.full((512,), float("nan")), "no numbers"),
    "objects": (np.array([None] * 512), "found an array of object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_embedding_is_refused_in_words(case: str) -> None:
    given, says = REFUSED[case]
    with pytest.raises(ValueError, match=says):
        embeddings(given)


def test_files_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "face.npy", np.stack([ONE, ONE]))
    save_file({"anything": torch.from_numpy(ONE)[None]}, tmp_path / "one tensor.safetensors")
    model = {"embedding": torch.from_numpy(ONE), "bbox": torch.zeros(4), "landmark_3d_68": torch.zeros(68, 3)}
    save_file(model | {"other": torch.zeros(512)}, tmp_path / "face model.safetensors")
    for name, count in (("face.npy", 2), ("one tensor.safetensors", 1), ("face model.safetensors", 1)):
        assert np.allclose(read(tmp_path / name).numpy(), np.stack([ONE] * count))


def test_files_without_embeddings_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"bbox": torch.zeros(4)}, tmp_path / "boxes.safetensors")
    save_file({"a": torch.zeros(512), "b": torch.zeros(512)}, tmp_path / "two.safetensors")
    np.save(tmp_path / "narrow.npy", np.zeros(128))
    np.save(tmp_path / "pickled.npy", np.array([{"embedding": ONE}]), allow_pickle=True)
    for name in ("text.npy", "text.safetensors"):
        (tmp_path / name).write_text("no numbers")
    (tmp_path / "nothing.npy").touch()
    says = {"boxes.safetensors": "it has bbox; needed is one called embedding", "narrow.npy": "found 128"}
    says |= {"two.safetensors": "it has a, b", "pickled.npy": "no whole .npy file"}
    for file in tmp_path.iterdir():
        refused = rf"^Choose another file; {file.name} gives no face embeddings: .*{says.get(file.name, '')}"
        with pytest.raises(ValueError, match=refused):
            read(file)


def test_a_file_takes_no_more_memory_than_it_is_long(tmp_path: Path) -> None:
    """An archive under another name, which unpacks to 128 MiB, and a header that claims more than there is."""
    np.savez_compressed(tmp_path / "archive.npz", embedding=np.zeros((2**15, 512)))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**13, 512)})
    (tmp_path / "header.npy").write_bytes(header.getvalue())
    with (tmp_path / "long.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**17, 512)})
        file.truncate(file.tell() + 2**17 * 512 * 4)
    tracemalloc.start()
    for name in ("archive.npy", "header.npy", "long.npy"):
        with pytest.raises(ValueError, match=rf"^Choose another file; {name} gives no face embeddings: it "):
            read(tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26

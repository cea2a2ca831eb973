"""Files of kinds that are not run here are told by their tensors alone, and nothing else is taken for one."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.files.foreign import FOREIGN, find_foreign
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.vision.towers import identify
from fabricate.adapters import KINDS, adapter, flat
from fabricate.towers import VIT_H_14, hf_shapes, openclip_shapes
from foreign_shapes import PIECES, REFUSED, header
from published_shapes import FILES, UNPUBLISHED, entries


@pytest.mark.parametrize("file", REFUSED)
def test_every_kind_is_told_by_its_tensors(file: str) -> None:
    _, _, what, use = REFUSED[file]
    found = find_foreign(header(file))
    assert found
    assert found.kind.what == what
    assert use in found.kind.use
    assert found.name in header(file)


@pytest.mark.parametrize("file", REFUSED)
def test_the_order_of_names_in_a_file_does_not_matter(file: str) -> None:
    named = header(file)
    found = find_foreign(dict(reversed(named.items())))
    assert found
    assert found.kind.what == REFUSED[file][2]


@pytest.mark.parametrize(("file", "name"), PIECES)
def test_a_piece_of_a_file_tells_its_kind(file: str, name: str) -> None:
    found = find_foreign({name: header(file)[name]})
    assert found
    assert found.kind.what == REFUSED[file][2]


def test_every_row_is_tried() -> None:
    assert {kind.what for kind in FOREIGN} == {what for _, _, what, _ in REFUSED.values()}


@pytest.mark.parametrize("file", [*FILES, *UNPUBLISHED])
def test_adapters_that_run_are_not_foreign(file: str) -> None:
    assert find_foreign(entries(file)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_small_adapters_are_not_foreign(kind: str) -> None:
    named = flat(adapter(**KINDS[kind]))
    assert find_foreign({name: Entry(tuple(value.shape), "F16") for name, value in named.items()}) is None


@pytest.mark.parametrize("shapes", [hf_shapes(VIT_H_14), openclip_shapes(VIT_H_14)], ids=["hf", "openclip"])
def test_encoders_are_not_foreign(shapes: dict[str, tuple[int, ...]]) -> None:
    assert find_foreign({name: Entry(shape, "F16") for name, shape in shapes.items()}) is None


def test_the_loader_of_encoders_says_it_with_the_name_of_the_file() -> None:
    with pytest.raises(
        ValueError, match=r"^Choose another file, .* Load Style Model .*; x\.bin is Flux Redux \(redux_up"
    ):
        identify(header("flux1-redux-dev"), file="x.bin")

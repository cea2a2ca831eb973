"""What goes through the old sockets can be read by other packs, and what they give can be read here."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.usefixtures("comfy")


def loaded(reads: tuple[str, ...] = ("embeds",), widths: tuple[int, ...] = (8,)) -> Any:
    """An adapter on the socket that reads these features."""
    from comfyui_ip_adapter.nodes.host.adapters import LoadedAdapter

    identity: Any = SimpleNamespace(
        variant=SimpleNamespace(reads=reads, name="base"), widths=widths, encoder="an encoder"
    )
    patcher: Any = None
    return LoadedAdapter("file.safetensors", identity, patcher)


def test_a_bundle_comes_back_as_it_was_packed() -> None:
    from comfyui_ip_adapter.nodes.compat.values import Bundle, pack, unpack

    bundle = Bundle(loaded(), encoder="encoder", reader="reader")
    assert unpack(pack(bundle)) == bundle


def test_other_packs_find_the_parts_where_the_old_pack_had_them() -> None:
    from comfyui_ip_adapter.nodes.compat.values import Bundle, pack

    adapter = loaded()
    packed = pack(Bundle(adapter, "encoder", "reader"), "CPU")
    assert packed["ipadapter"] == {"file": "file.safetensors", "model": adapter}
    assert packed["clipvision"]["model"] == "encoder"
    assert packed["insightface"] == {"provider": "CPU", "model": "reader"}


def test_what_a_node_has_connected_comes_before_what_the_loader_gave() -> None:
    from comfyui_ip_adapter.nodes.compat.values import Bundle, pack, unpack

    packed = pack(Bundle(loaded(), "the loader's", "the loader's"))
    assert unpack(packed, encoder="connected")[1:] == ("connected", "the loader's")
    assert unpack(packed, reader="connected")[1:] == ("the loader's", "connected")


@pytest.mark.parametrize(
    "value", [{}, {"image_proj": {}, "ip_adapter": {}}, "text", None, {"ipadapter": {"file": "x"}}]
)
def test_the_value_of_another_pack_is_refused(value: Any) -> None:
    from comfyui_ip_adapter.nodes.compat.values import unpack

    with pytest.raises(ValueError, match=r"^Connect ipadapter to IPAdapter Model Loader"):
        unpack(value)


@pytest.mark.parametrize(("reads", "shape"), [(("embeds",), (3, 8)), (("hidden",), (3, 5, 8))])
def test_embeds_before_version_2_hold_both_halves(reads: tuple[str, ...], shape: tuple[int, ...]) -> None:
    from comfyui_ip_adapter.nodes.compat.values import split_embeds

    positive, negative = torch.rand(shape), torch.rand(shape)
    adapter = loaded(reads)
    alone = split_embeds(adapter, positive)
    assert torch.equal(alone[0], positive) and alone[1] is None
    both = split_embeds(adapter, torch.stack([positive, negative]))
    assert torch.equal(both[0], positive) and both[1] is not None and torch.equal(both[1], negative)


@pytest.mark.parametrize("embeds", [torch.rand(3, 9), torch.rand(8), torch.rand(2, 2, 3, 8), "text"])
def test_embeds_of_another_adapter_are_refused(embeds: Any) -> None:
    from comfyui_ip_adapter.nodes.compat.values import split_embeds

    with pytest.raises(ValueError, match=r"^Connect embeds that were made for this adapter: it reads"):
        split_embeds(loaded(), embeds)


def test_embeds_are_refused_for_faces() -> None:
    from comfyui_ip_adapter.nodes.compat.values import split_embeds

    with pytest.raises(ValueError, match=r"^Use IPAdapter FaceID in place of this node"):
        split_embeds(loaded(("normed_face",)), torch.rand(1, 8))

"""Lists that users write: four kinds of them, all cut and refused in one manner."""

from collections.abc import Callable

import pytest

from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import read_steps
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import read_weights
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import read_keys
from comfyui_ip_adapter.ip_adapter_core.settings.curves import points
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import parse
from comfyui_ip_adapter.ip_adapter_core.text.number_lists import NamedNumber, Wanted, numbers, pairs

WANTED = Wanted("the list", "numbers such as 1", float)

READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "weights": (read_weights, "0.5"),
    "key frames": (read_keys, "8"),
    "steps": (read_steps, "0.5"),
    "points": (lambda text: points(text, "steps"), "3:0.5"),
    "layer weights": (lambda text: [entry.number for entry in parse(text)], "style = 0.5"),
}
every_reader = pytest.mark.parametrize("reader", READERS)


@every_reader
@pytest.mark.parametrize("between", [",", ";", "\n", "\r\n", " , ", ",\n;", " # a remark, with a comma\n"])
def test_pieces_stand_between_commas_semicolons_and_line_ends(reader: str, between: str) -> None:
    read, piece = READERS[reader]
    assert read(f" {between.join([piece] * 3)} {between}") == read(", ".join([piece] * 3))


@every_reader
@pytest.mark.parametrize("wrong", ["half", "nan", "inf", "1e999", "0x10", "--1"])
def test_what_is_no_finite_number_is_quoted_after_what_to_write(reader: str, wrong: str) -> None:
    read, piece = READERS[reader]
    spoilt = piece.replace(piece.split()[-1].split(":")[-1], wrong)
    with pytest.raises(ValueError, match=rf"^Write the .* as .* such as .*; found '{spoilt}'\.$"):
        read(f"{piece}, {spoilt}, {piece}")


def test_numbers_may_have_blanks_between_them_and_be_none() -> None:
    assert numbers("1 2\t3\n\n4", WANTED) == (1.0, 2.0, 3.0, 4.0)
    assert numbers(" \n # 1", WANTED) == ()


def test_the_name_of_a_pair_may_have_blanks_in_it() -> None:
    assert pairs("a b : c d\n= 1", WANTED) == [NamedNumber("a b : c d", "a b", "c d"), NamedNumber("= 1", "", "1")]
    assert pairs("a = b : c", WANTED) == [NamedNumber("a = b : c", "a", "b : c")]


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("# a = 1", "nothing"), ("a = 1, b", "'b'")])
def test_what_is_no_pair_is_quoted(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=f"^Write the list as numbers such as 1; found {found}.$"):
        pairs(text, WANTED)

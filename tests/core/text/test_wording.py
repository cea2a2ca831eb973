"""Quotes in messages: short, and in letters that every log takes."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.text.wording import brief, legible, listed, quoted, shown

LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("text", [LATIN, "\ud83d", "a\0b", "ok …"])
def test_what_is_legible_can_be_written(text: str) -> None:
    for said in (legible(text), shown(text), quoted(text), brief(f"Found {text!r} in {text}.")):
        assert "\0" not in said
        said.encode("utf-8")
    assert legible("λ × σ, 猫") == "λ × σ, 猫"


def test_long_texts_are_cut() -> None:
    assert shown("a" * 12_000) == "a" * 120 + "…"
    assert quoted("a" * 12_000) == repr("a" * 120 + "…")
    assert brief(f'Write a number; found {"a" * 12_000!r} in "{"b" * 200}".') == (
        f"Write a number; found '{'a' * 120}…' in \"{'b' * 120}…\"."
    )
    assert shown("short") == "short"
    assert listed([1.0, 0.5, float("nan")]) == "1, 0.5, nan"


def test_apostrophes_are_no_quotes() -> None:
    said = f"This adapter's tokens {'go ' * 80} through the model's projection, which is the users' own."
    assert brief(said) == said

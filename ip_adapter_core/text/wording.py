"""How messages quote what users wrote: short, and in letters that every log can hold."""

from __future__ import annotations

import re

_LONGEST = 120  # letters of a quote; readable file names are shorter
_MORE = "…"
_INSIDE = "(?:(?!(?P=mark)).)"  # a letter that does not end the quote
_LONG_QUOTE = re.compile(  # an apostrophe within a word is no mark
    rf"(?<!\w)(?P<mark>['\"])(?P<start>{_INSIDE}{{{_LONGEST}}}){_INSIDE}+(?P=mark)(?!\w)", re.DOTALL
)


def legible(text: str) -> str:
    """The text with escapes in place of everything that UTF-8 cannot write.

    File names may contain bytes that are no text, and JSON may contain halves of letters; logs and terminals raise on
    both.
    """
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: object, longest: int = _LONGEST) -> str:
    """A name or a number as messages show it: legible, and cut after `longest` letters."""
    text = legible(str(value))
    return text if len(text) <= longest else text[:longest] + _MORE


def quoted(value: object, longest: int = _LONGEST) -> str:
    """A user's text in quotation marks, with escapes for line ends and the like."""
    return repr(shown(value, longest))


def brief(message: str) -> str:
    """A message with every long quote in it cut, also quotes that another library made."""
    return _LONG_QUOTE.sub(rf"\g<mark>\g<start>{_MORE}\g<mark>", legible(message))


def listed(value: object, longest: int = _LONGEST) -> str:
    """Numbers or names in one line: `1, 0.5, …`."""
    items = value if isinstance(value, list | tuple) else [value]
    return shown(", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in items), longest)

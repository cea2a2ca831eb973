"""How messages quote what users gave: short, and always so that it can be written to a log."""

from __future__ import annotations

import re

_LONGEST = 120  # letters of a quote; names of files that people can read are shorter
_MORE = "…"
_INSIDE = "(?:(?!(?P=mark)).)"  # a letter that does not end the quote
_LONG_QUOTE = re.compile(  # an apostrophe within a word is no mark
    rf"(?<!\w)(?P<mark>['\"])(?P<start>{_INSIDE}{{{_LONGEST}}}){_INSIDE}+(?P=mark)(?!\w)", re.DOTALL
)


def legible(text: str) -> str:
    """The text with all that UTF-8 cannot say as escapes: names of files may hold bytes that are no text, and JSON may
    hold halves of letters. Logs and terminals raise on these."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")


def shown(given: object, longest: int = _LONGEST) -> str:
    """A name or a number as messages show it: legible, and cut where nobody reads on."""
    text = legible(str(given))
    return text if len(text) <= longest else text[:longest] + _MORE


def quoted(given: object, longest: int = _LONGEST) -> str:
    """What a user wrote, in quotation marks, with line ends and the like as escapes."""
    return repr(shown(given, longest))


def brief(message: str) -> str:
    """A message whose quotes are cut where nobody reads on, whoever quoted."""
    return _LONG_QUOTE.sub(rf"\g<mark>\g<start>{_MORE}\g<mark>", legible(message))


def listed(given: object, longest: int = _LONGEST) -> str:
    """Some numbers or names side by side: `1, 0.5, …`."""
    items = given if isinstance(given, list | tuple) else [given]
    return shown(", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in items), longest)

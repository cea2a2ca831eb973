"""How the editor's search orders nodes: what Fuse.js finds, sorted as the frontend sorts it (frontend 1.47, Fuse 7).

Written from the documented options (keys name, display_name and search_aliases, threshold 0.3, extended search) and the
bitap algorithm; tests/browser/test_search.py holds it against the real editor.
"""

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

THRESHOLD, DISTANCE, LEAST = 0.3, 100, 0.001
ONE_TEXT = 2.220446049250313e-16  # what an equal text counts, so that it is not nothing
PENALTY = 0.2
WORDS = re.compile(r" |\b|(?<=[a-z])(?=[A-Z])|(?=[A-Z][a-z])")

Score = tuple[float, ...]


class Sought(NamedTuple):
    """What the search knows of a node."""

    name: str
    display_name: str
    aliases: tuple[str, ...] = ()
    deprecated: bool = False


def described(name: str, info: dict[str, Any]) -> Sought:
    """A node as /object_info describes it."""
    aliases = tuple(info.get("search_aliases") or ())
    return Sought(name, info.get("display_name") or name, aliases, bool(info.get("deprecated")))


def search(query: str, nodes: Iterable[Sought]) -> list[str]:
    """The names of the nodes that a query finds, in the order of the menu; deprecated nodes are hidden in it."""
    found = [(score, node) for node in nodes if not node.deprecated and (score := fuse(query, node)) is not None]
    return [node.name for _, node in sorted(found, key=lambda one: rank(query.lower(), one[1], one[0]))]


def fuse(query: str, node: Sought) -> float | None:
    """The product over all texts of a node that match, of which shorter ones count more; None without any."""
    scores = [(text, matched(query, text)) for text in (node.name, node.display_name, *node.aliases)]
    powers = [(score or ONE_TEXT) ** norm(text) for text, score in scores if score is not None]
    return math.prod(powers) if powers else None


def norm(text: str) -> float:
    """The share of a field of so many words."""
    return round(1 / math.sqrt(len(re.findall("[^ ]+", text)) or 1), 3)


def matched(query: str, text: str) -> float | None:
    """The mean score of the words of a query, which all must be in a text; None where one is not."""
    scores = [bitap(word.lower(), text.lower()) for word in query.split()]
    return None if None in scores or not scores else sum(filter(None, scores)) / len(scores)


@lru_cache(maxsize=100_000)
def bitap(pattern: str, text: str) -> float | None:
    """How far a pattern is from a part of a text, in errors and place; None where it is too far."""
    if pattern == text:
        return 0.0
    best, threshold = exact(pattern, text)
    final, last = 1.0, [0] * (len(pattern) + len(text) + 3)
    high = len(pattern) + len(text)
    for errors in range(len(pattern)):
        high = reach(pattern, errors, threshold, high)
        finish = min(high, len(text)) + len(pattern)
        row = [0] * (max(finish, len(last)) + 2)
        row[finish + 1] = (1 << errors) - 1
        start = max(1, -high + 1)
        for end in range(finish, start - 1, -1):
            row[end] = step(pattern, text, end, row, last, errors)
            if row[end] & (1 << (len(pattern) - 1)):
                final = far(pattern, errors, end - 1)
                if final <= threshold:
                    threshold, best = final, end - 1
                    if best <= 0:
                        break
        if far(pattern, errors + 1, 0) > threshold:
            break
        last = row
    return max(LEAST, final) if best is not None else None


def exact(pattern: str, text: str) -> tuple[None, float]:
    """What the places of the pattern as it is leave of the threshold."""
    places: Iterator[int] = (found.start() for found in re.finditer(re.escape(pattern), text))
    return None, min([THRESHOLD, *(far(pattern, 0, place) for place in places)])


def reach(pattern: str, errors: int, threshold: float, most: int) -> int:
    """How far from the beginning a match of so many errors may lie."""
    low, middle, high = 0, most, most
    while low < middle:
        low, high = (middle, high) if far(pattern, errors, middle) <= threshold else (low, middle)
        middle = (high - low) // 2 + low
    return middle


def step(pattern: str, text: str, end: int, row: list[int], last: list[int], errors: int) -> int:
    """The bits of a place: which beginnings of the reversed pattern end there."""
    letter = text[end - 1] if end <= len(text) else ""
    mask = sum(1 << (len(pattern) - at - 1) for at, own in enumerate(pattern) if own == letter)
    bits = ((row[end + 1] << 1) | 1) & mask
    if errors:
        before, after = (last[at] if at < len(last) else 0 for at in (end, end + 1))
        bits |= ((after | before) << 1) | 1 | after
    return bits


def far(pattern: str, errors: int, place: int) -> float:
    """The score of a match: the share of errors, and the place."""
    return errors / len(pattern) + place / DISTANCE


def rank(query: str, node: Sought, score: float) -> Score:
    """What the frontend sorts by: how the name has the query; aliases only count through the score."""
    return min(standing(query, text, score) for text in (node.name, node.display_name))


def standing(query: str, text: str, score: float) -> Score:
    """How a name has a query: as a whole, at its beginning, as a word, anywhere, or as words in disorder."""
    words, parts, low = [word.lower() for word in WORDS.split(text)], query.split(" "), text.lower()
    last = score + PENALTY * (1 - min(len(low), len(query)) / max(len(low), len(query)))
    if low == query:
        return 0, 0, 0, last
    if low.startswith(query):
        return 1, 0, len(low), last
    if query in low:
        return 2 if query in words else 3, low.index(query) + len(low) / 2, len(low), last
    if all(part in words for part in parts):
        places = [words.index(part) for part in parts]
        return 4, max(places) - min(places) + max(places) / 2 + len(low) / 2, len(low), last
    if all(part in low for part in parts):
        ends = max(low.index(part) + len(part) for part in parts)
        return 5, ends - min(map(low.index, parts)) + ends / 2 + len(low) / 2, len(low), last
    return 9, 0, 0, last

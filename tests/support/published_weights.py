"""Published weight types, recorded: what every transformer gets of the weight, by its number in running order."""

Block = tuple[str, int]


def _running(inputs: tuple[int, ...], outputs: range) -> list[Block]:
    return [*(("input", number) for number in inputs), ("middle", 0), *(("output", number) for number in outputs)]


BLOCKS: dict[str, list[Block]] = {
    "SD1.5": _running((1, 2, 4, 5, 7, 8), range(3, 12)),
    "SDXL": _running((4, 5, 7, 8), range(6)),
}

# A number is a multiple of the weight, and so is w; c, s and b are the second number; sw: swapped.
_TABLES = {
    "SD1.5": """
linear | 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
ease in | 1 .9406 .8812 .8219 .7625 .7031 .6438 .5844 .525 .4656 .4062 .3469 .2875 .2281 .1688 .1094
ease out | .05 .1094 .1688 .2281 .2875 .3469 .4062 .4656 .525 .5844 .6438 .7031 .7625 .8219 .8812 .9406
ease in-out | .05 .1688 .2875 .4062 .525 .6438 .7625 .8812 1 .8812 .7625 .6438 .525 .4062 .2875 .1688
reverse in-out | 1 .8812 .7625 .6438 .525 .4062 .2875 .1688 .05 .1688 .2875 .4062 .525 .6438 .7625 .8812
weak input | .2 .2 .2 .2 .2 .2 1 1 1 1 1 1 1 1 1 1
weak output | 1 1 1 1 1 1 1 .2 .2 .2 .2 .2 .2 .2 .2 .2
weak middle | 1 1 1 1 1 1 .2 1 1 1 1 1 1 1 1 1
strong middle | .2 .2 .2 .2 .2 .2 1 .2 .2 .2 .2 .2 .2 .2 .2 .2
style transfer | w w w w 0 0 0 0 0 w w w w w w w
composition | 0 0 0 0 w/4 w 0 0 0 0 0 0 0 0 0 0
strong style transfer | w w w w 0 0 w w w w w w w w w w
style and composition | w w w w c/4 c 0 0 0 w w w w w w w
strong style and composition | w w w w c c w w w w w w w w w w
style transfer precise | w w w w s/4sw ssw 0 0 0 w w w w w w w
composition precise | bsw bsw bsw bsw w/4 w b/10sw b/10sw b/10sw bsw bsw bsw bsw bsw bsw bsw
""",
    "SDXL": """
linear | 1 1 1 1 1 1 1 1 1 1 1
ease in | 1 .9136 .8273 .7409 .6545 .5682 .4818 .3955 .3091 .2227 .1364
ease out | .05 .1364 .2227 .3091 .3955 .4818 .5682 .6545 .7409 .8273 .9136
ease in-out | .05 .2227 .3955 .5682 .7409 .9136 .9136 .7409 .5682 .3955 .2227
reverse in-out | 1 .8273 .6545 .4818 .3091 .1364 .1364 .3091 .4818 .6545 .8273
weak input | .2 .2 .2 .2 1 1 1 1 1 1 1
weak output | 1 1 1 1 1 .2 .2 .2 .2 .2 .2
weak middle | 1 1 1 1 .2 1 1 1 1 1 1
strong middle | .2 .2 .2 .2 1 .2 .2 .2 .2 .2 .2
style transfer | 0 0 0 0 0 0 w 0 0 0 0
composition | 0 0 0 w 0 0 0 0 0 0 0
strong style transfer | w w w 0 w w w w w w w
style and composition | 0 0 0 c 0 0 w 0 0 0 0
strong style and composition | w w w c w w w w w w w
style transfer precise | 0 0 0 ssw 0 0 w 0 0 0 0
composition precise | b/10sw b/10sw b/10sw w b/10sw b/10sw bsw b/10sw b/10sw b/10sw b/10sw
""",
}


def rows(table: str) -> dict[str, list[str]]:
    """The cells of each weight type of a table, by its name."""
    return {name.strip(): cells.split() for name, cells in (line.split("|") for line in table.strip().splitlines())}


ROWS = {construction: rows(table) for construction, table in _TABLES.items()}

_SD_STYLE, _SD_LAYOUT = {("output", 3), ("output", 4), ("output", 5)}, {("input", 7), ("input", 8), ("middle", 0)}
_XL_STYLE, _XL_LAYOUT = {("output", 1)}, {("input", 8)}


def _instant(style: set[Block], layout: set[Block]) -> dict[str, tuple[set[Block], set[Block]]]:
    return {
        "InstantStyle style": (style, set()),
        "InstantStyle layout": (set(), layout),
        "InstantStyle style and layout": (style, layout),
    }


INSTANT_SETS = {"SD1.5": _instant(_SD_STYLE, _SD_LAYOUT), "SDXL": _instant(_XL_STYLE, _XL_LAYOUT)}
"""InstantStyle's own blocks of style and of layout that a type acts in."""


def expected(row: list[str], weight: float, second: float) -> list[tuple[float, float]]:
    """A row in numbers: straight and swapped for every transformer."""
    return [_numbers(cell, weight, second) for cell in row]


def _numbers(cell: str, weight: float, second: float) -> tuple[float, float]:
    amount = cell.removesuffix("sw")
    letter, _, divisor = amount.partition("/")
    of = {"w": weight, "c": second, "s": second, "b": second}
    number = of[letter] / float(divisor or 1) if letter in of else float(letter) * weight
    return (number, 0.0) if amount == cell else (0.0, number)

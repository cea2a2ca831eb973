"""Weight types of this package's own, in the notation of published_weights: a row here for each that nobody published.

ROWS = {"SD1.5": rows("my type | w w w w 0 0 w w w w w w w w w w"), "SDXL": rows("my type | …")}
"""

from published_weights import rows

ROWS: dict[str, dict[str, list[str]]] = {"SD1.5": rows(""), "SDXL": rows("")}

"""How near pictures come to references and to texts: CLIP-I and CLIP-T, the measures of arXiv 2308.06721, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from torch import Tensor, cat
from torch.nn.functional import normalize

from ..text.wording import legible


@dataclass(frozen=True, eq=False)
class Scores:
    """Cosines of embeddings, -1..1, as they are, without a scale.

    clip_i: between the embeddings of pictures and of references, (pictures, references); None without references.
    clip_t: between the embeddings of pictures and of texts, (pictures, texts); None without texts.
    texts: as they were written.
    """

    clip_i: Tensor | None = None
    clip_t: Tensor | None = None
    texts: tuple[str, ...] = ()

    @property
    def means(self) -> tuple[float, float]:
        """CLIP-I and CLIP-T: the mean of each table; not a number where there is none."""
        return _mean(self.clip_i), _mean(self.clip_t)

    @property
    def columns(self) -> list[str]:
        """What the pictures are compared with, in words."""
        references = 0 if self.clip_i is None else self.clip_i.shape[1]
        return [*(f"reference {number}" for number in range(1, references + 1)), *self.texts]

    def rows(self) -> list[list[float]]:
        """The cosines of each picture, in the order of `columns`."""
        parts = [part for part in (self.clip_i, self.clip_t) if part is not None]
        rows: list[list[float]] = cat(parts, dim=1).tolist()
        return rows

    def markdown(self) -> str:
        """A Markdown table: a row for each picture, and one for the means."""
        rows = self.rows()
        lines = [["picture", *map(_cell, self.columns)], ["---", *["---:"] * len(self.columns)]]
        lines += [[str(number), *map("{:.4f}".format, row)] for number, row in enumerate(rows, start=1)]
        lines += [["mean", *(f"{sum(column) / len(rows):.4f}" for column in zip(*rows, strict=True))]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cosines(pictures: Tensor, others: Tensor) -> Tensor:
    """The cosine of each picture's embedding with each other one: (pictures, width), (others, width) -> (pictures,
    others)."""
    mine, theirs = (normalize(embeds.detach().cpu().double(), dim=-1) for embeds in (pictures, others))
    return (mine @ theirs.T).clamp(-1, 1)


def read_texts(lines: str) -> tuple[str, ...]:
    """The texts that somebody wrote, one a line; blank lines are none."""
    return tuple(line.strip() for line in lines.splitlines() if line.strip())


def _mean(part: Tensor | None) -> float:
    return nan if part is None else float(part.mean())


def _cell(text: str) -> str:
    return legible(text).replace("\\", "\\\\").replace("|", "\\|")

"""Names model files on the command line: `python -m ip_adapter_core.identify FILE|FOLDER…`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from .adapters import checkpoint, loading
from .adapters.identity import Identity
from .adapters.resolution import PUBLISHED, TENSORS, bare, digest, gather_evidence
from .files.errors import UnsupportedCheckpoint
from .files.foreign import find_foreign
from .files.tensor_file import Entry, container, entries, is_weight_file
from .vision import encoder
from .vision.layouts import is_encoder

# Words in file names that distinguish adapters of one kind whose tensors are equal: word -> kinds.
_LABELS = {
    "light": ("base",),
    "noob": ("base", "plus"),
    "face": ("plus",),
    "composition": ("plus",),
    "v11": ("base", "portrait"),
    "instantid": ("portrait unnorm",),
}

_ART, _ART_WIDTH = "adapterart", 768  # of CSD's embeddings, and of those of CLIP-ViT-L-14


class Description(NamedTuple):
    """What a file is.

    line: in one line.
    details: more about it, in words.
    usable: whether this package can use it.
    foreign: whether it is a file of another kind, neither adapter nor encoder.
    """

    line: str
    details: tuple[str, ...] = ()
    usable: bool = True
    foreign: bool = False


def describe(path: str | Path) -> Description:
    """What a file is: an adapter, an encoder, an adapter or encoder that cannot be used and why, or something else."""
    try:
        named = entries(path)
        if foreign := find_foreign(named):
            kind = foreign.kind
            line = f"of a kind that does not run here: {kind.what} ({foreign.name})"
            return Description(line, (weights(named), f"for {kind.use}"), usable=False, foreign=True)
        if checkpoint.is_adapter(named):
            return _adapter(Path(path), named)
        return Description(f"CLIP vision encoder: {encoder.identify_file(path).describe()}", (weights(named),))
    except UnsupportedCheckpoint as refusal:
        return _describe_refusal(path, refusal)


def weights(named: Mapping[str, Entry]) -> str:
    """How many parameters, and in which dtypes, the most frequent first."""
    return f"{sum(prod(entry.shape) for entry in named.values()):,} parameters in {' and '.join(_dtypes(named))}"


def main(paths: Sequence[str]) -> int:
    """Describe each file, and each weight file in folders; the exit status is 1 when one cannot be used.

    Files of other kinds are named; only those that are asked for by themselves count as unusable.
    """
    status = 0
    for argument in map(Path, paths):
        for path in _files(argument) if argument.is_dir() else [argument]:
            description = describe(path)
            status |= not (description.usable or (description.foreign and argument.is_dir()))
            sys.stdout.write("".join(f"{line}\n" for line in _lines(path, description)))
    return status


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if is_weight_file(path) and path.is_file())


def _lines(path: Path, description: Description) -> list[str]:
    return [f"{path}: {description.line}", *(["    " + "; ".join(description.details)] if description.details else [])]


def _adapter(path: Path, named: Mapping[str, Entry]) -> Description:
    identity = loading.identify(named, gather_evidence(path))
    details = (
        weights(named),
        ", ".join(filter(None, [container(path), checkpoint.naming(named)])),
        f"takes {' and '.join(_name_inputs(identity))}",
        f"kind told by {identity.rule}",
        *_labels(path, identity, named),
    )
    return Description(f"IP-Adapter: {identity._replace(rule=TENSORS).describe()}", details)


def _name_inputs(identity: Identity) -> list[str]:
    return [f"{field} of width {width}" for field, width in zip(identity.variant.reads, identity.widths, strict=True)]


def _labels(path: Path, identity: Identity, named: Mapping[str, Entry]) -> Iterator[str]:
    """Further signs of which published file this is."""
    kind = identity.variant.name
    if published := PUBLISHED.get(digest(path)):
        yield f"published as {published}"
    for word, kinds in _LABELS.items():
        if kind in kinds and word in bare(path.name):
            yield f"its name says {word}"
    if (kind, identity.widths) == ("base", (_ART_WIDTH,)) and _ART in bare(path.name):
        yield "its name says IP-Adapter-Art, which was trained with CSD and says little of what another encoder gives"
    if kind in _LABELS["instantid"] and _dtypes(named) == ["F32"]:
        yield "all in F32, as InstantID's file is"


def _dtypes(named: Mapping[str, Entry]) -> list[str]:
    """The dtypes of a file, those of most parameters first."""
    parameters: Counter[str] = Counter()
    for entry in named.values():
        parameters[entry.dtype] += prod(entry.shape)
    return [dtype for dtype, _ in parameters.most_common()]


def _describe_refusal(path: str | Path, refusal: UnsupportedCheckpoint) -> Description:
    try:
        names = list(entries(path))
    except UnsupportedCheckpoint:
        names = []
    if not names or checkpoint.is_adapter(names) or is_encoder(names):
        return Description(f"cannot be used: {refusal}", usable=False)
    return Description(f"no adapter and no encoder, but {checkpoint.what_else(names)}", usable=False, foreign=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The small world's vocabulary: a byte-pair encoding in which each of its words is one token, and any text has tokens.

Written in the format of CLIP's tokenizer, so that ComfyUI (transformers) and OpenCLIP read the same one.
"""

import gzip
import json
from collections.abc import Iterable
from itertools import pairwise

import torch
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from torch import Tensor

from ...ip_adapter_core.small_world import people
from ...ip_adapter_core.small_world.world import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, TEXTURES
from ...nodes.host.small_world import CONTEXT
from ...nodes.host.small_world import END as END_ID
from .shelf import MODELS

FOLDER = MODELS / "tokenizer"
VOCABULARY = END_ID + 1
"""Numbers of tokens without those of portraits."""
START, END = "<|startoftext|>", "<|endoftext|>"

_SMALL = ["a", "an", "and", "on", "in", "at", "of", "the", "background", "picture", "photo", "image", "pastel"]
WORDS = [*_SMALL, *SHAPES, *COLOURS, *TEXTURES, *BACKGROUNDS, *SIZES, *PLACES]
_OF_ALL = ["person", "with", "skin", "hair", "mohawk", "moustache", "beard", "glasses", "shirt"]
_LATER = [*_OF_ALL, *people.SKINS, *people.HAIR, *people.STYLES, *people.EXPRESSIONS, *people.GLASSES]
"""Words of portraits. Their numbers follow END, so that those of all others stay; the encoder does not know them."""
_PROGRAMS = {"curl"}  # parts of words that scanners of archives take for what they mean elsewhere


def merges(spoken: Iterable[str] = WORDS, known: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Pairs to join, in order, so that every word becomes one token without breaking an earlier one.

    known: pairs to begin with.
    """
    pairs = list(known)
    for word in dict.fromkeys(spoken):
        parts = _joined([*word[:-1], word[-1] + "</w>"], pairs)
        while len(parts) > 1:
            n = len(parts) - 2 if parts[0] + parts[1] in _PROGRAMS else 0
            pairs.append((parts[n], parts[n + 1]))
            parts = _joined(parts, pairs)
    return pairs


def _joined(parts: list[str], merged_pairs: list[tuple[str, str]]) -> list[str]:
    """The parts of a word after all merges so far, the oldest merge first."""
    rank = {pair: place for place, pair in enumerate(merged_pairs)}
    while True:
        candidates = [(rank[pair], n) for n, pair in enumerate(pairwise(parts)) if pair in rank]
        if not candidates:
            return parts
        _, n = min(candidates)
        parts = [*parts[:n], parts[n] + parts[n + 1], *parts[n + 2 :]]


def _page(pairs: Iterable[tuple[str, str]]) -> str:
    return "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in pairs)


def tokenizer() -> SimpleTokenizer:
    """OpenCLIP's tokenizer of this vocabulary."""
    return SimpleTokenizer(bpe_path=str(FOLDER / "merges.txt.gz"), context_length=CONTEXT)


def numbers() -> int:
    """How many token numbers there are, with those of portraits."""
    return len(json.loads((FOLDER / "vocab.json").read_text("utf-8")))


def padded(tokens: Tensor) -> Tensor:
    """Tokens as ComfyUI pads them: with the end token, where OpenCLIP has zeros; (n, 32)."""
    ended = (tokens == END_ID).cumsum(dim=1) > 0
    return torch.where(ended, END_ID, tokens)


def main() -> None:
    """Write the tokenizer's files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs = merges()
    whole = merges(_LATER, pairs)
    letters = list(bytes_to_unicode().values())
    joined = ["".join(pair) for pair in whole]
    words = [*letters, *(letter + "</w>" for letter in letters), *joined[: len(pairs)], START, END]
    words += [word for word in joined[len(pairs) :] if word not in words]
    (FOLDER / "vocab.json").write_text(
        json.dumps({word: n for n, word in enumerate(words)}, ensure_ascii=False), "utf-8"
    )
    (FOLDER / "merges.txt").write_text(_page(whole), "utf-8")
    with gzip.GzipFile(FOLDER / "merges.txt.gz", "wb", mtime=0) as file:
        file.write(_page(pairs).encode())
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    configuration = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT}
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(configuration, indent=1) + "\n")
    (FOLDER / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")


if __name__ == "__main__":
    main()

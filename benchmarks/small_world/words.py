"""The small world's vocabulary: a byte-pair encoding in which each of its words is one token, and any text has tokens.

Written in the format of CLIP's tokenizer, so that ComfyUI (transformers) and OpenCLIP read the same one.
"""

import gzip
import json
from itertools import pairwise

import torch
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from torch import Tensor

from ...ip_adapter_core.small_world.world import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, TEXTURES
from ...nodes.host.small_world import CONTEXT
from ...nodes.host.small_world import END as END_ID
from .shelf import MODELS

FOLDER = MODELS / "tokenizer"
VOCABULARY = END_ID + 1
START, END = "<|startoftext|>", "<|endoftext|>"

_SMALL = ["a", "an", "and", "on", "in", "at", "of", "the", "background", "picture", "photo", "image", "pastel"]
WORDS = [*_SMALL, *SHAPES, *COLOURS, *TEXTURES, *BACKGROUNDS, *SIZES, *PLACES]


def merges() -> list[tuple[str, str]]:
    """Pairs to join, in order, so that every word becomes one token without breaking an earlier one."""
    pairs: list[tuple[str, str]] = []
    for word in dict.fromkeys(WORDS):
        parts = _joined([*word[:-1], word[-1] + "</w>"], pairs)
        while len(parts) > 1:
            pairs.append((parts[0], parts[1]))
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


def tokenizer() -> SimpleTokenizer:
    """OpenCLIP's tokenizer of this vocabulary."""
    return SimpleTokenizer(bpe_path=str(FOLDER / "merges.txt.gz"), context_length=CONTEXT)


def padded(tokens: Tensor) -> Tensor:
    """Tokens as ComfyUI pads them: with the end token, where OpenCLIP has zeros; (n, 32)."""
    ended = (tokens == END_ID).cumsum(dim=1) > 0
    return torch.where(ended, END_ID, tokens)


def main() -> None:
    """Write the tokenizer's files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs = merges()
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in pairs), START, END]
    text = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in pairs)
    (FOLDER / "vocab.json").write_text(
        json.dumps({word: n for n, word in enumerate(words)}, ensure_ascii=False), "utf-8"
    )
    (FOLDER / "merges.txt").write_text(text, "utf-8")
    with gzip.GzipFile(FOLDER / "merges.txt.gz", "wb", mtime=0) as file:
        file.write(text.encode())
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    configuration = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT}
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(configuration, indent=1) + "\n")
    (FOLDER / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")


if __name__ == "__main__":
    main()

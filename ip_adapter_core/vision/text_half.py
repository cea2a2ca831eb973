"""The text half of a whole CLIP file: from texts to embeddings that can be compared with those of pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor, nn

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import entries, tensors
from .encoder import find_config
from .layouts import HF_UNUSED, before, hf_layer_count, hf_layers, shapes, values
from .parts import Layout, Part
from .towers import Tower

_OPENCLIP = ("token_embedding.", "positional_embedding", "ln_final.", "text_projection", "transformer.", "cls_emb")
_HF_ONCE = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_VOCABULARY = "bpe_path"  # of OpenCLIP's tokenizer_kwargs: a file of merges
_INSTEAD = "Connect a CLIP of the encoder's family to clip"


class TextHalf(nn.Module):
    """A loaded text half; it computes in the dtype and on the device of its weights."""

    def __init__(self, transformer: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self._tokenizer = tokenizer

    @property
    def weight(self) -> Tensor:
        """One of the weights: it tells their dtype and device."""
        return next(self.transformer.parameters())

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Projected embeddings, not normalised, (texts, embed_dim). What is too long for the half is cut off."""
        embeds: Tensor = self.transformer(self._tokenizer(list(texts)).to(self.weight.device))
        return embeds


def load_text_half(path: str | Path, tower: Tower, dtype: torch.dtype | None = None) -> TextHalf:
    """The text half that lies beside a vision tower in a file, in either naming, on the CPU.

    tower: of the same file, as it was loaded. dtype: by default float32. Raises UnsupportedCheckpoint where the file
    has no text half, or one that reads words in a way of its own.
    """
    path = Path(path)
    named = entries(path)
    layout = _find_layout(named)
    if layout is None:
        raise UnsupportedCheckpoint(
            f"{_INSTEAD}, or load an encoder file with both halves of CLIP, such as OpenCLIP's own; {path.name} holds "
            "only the half that reads pictures."
        )
    config = _find_config(path, tower)
    transformer, tokenizer = _build(config, tower, path), _tokenizer(config, path)
    needed = {name: tuple(tensor.shape) for name, tensor in transformer.state_dict().items()}
    if shapes(named, layout) != needed:
        raise _unusable(path, f"its tensors are not those of {tower.name}")
    transformer.load_state_dict(values(tensors(path), layout, dtype or torch.float32), assign=True)
    if transformer.attn_mask is not None:  # no file contains it, and the meta device gave it no values
        transformer.attn_mask = transformer.build_causal_mask()
    return TextHalf(transformer, tokenizer).train(False).requires_grad_(False)


def _find_layout(names: Collection[str]) -> Layout | None:
    """The tensors of the text half among a file's keys, by OpenCLIP's names; None when there is none."""
    prefix = before("text_model.", names)
    if prefix is not None:
        return Layout("", _hf_parts(names, prefix))
    prefix = before("visual.", names) or ""
    for start in (f"{prefix}text.", prefix):
        beginnings = tuple(start + beginning for beginning in _OPENCLIP)
        parts = {name.removeprefix(start): Part((name,)) for name in names if name.startswith(beginnings)}
        if "token_embedding.weight" in parts:
            return Layout(start, parts)
    return None


def _hf_parts(names: Collection[str], prefix: str) -> dict[str, Part]:
    model = f"{prefix}text_model."
    parts = {name: Part((model + key,)) for name, key in _HF_ONCE.items()}
    parts |= dict(hf_layers(model, hf_layer_count(names, model)))
    parts["text_projection"] = Part((f"{prefix}text_projection.weight",), transposed=True)
    known = {key for part in parts.values() for key in part.keys} | {model + name for name in HF_UNUSED}
    others = {name for name in names if name.startswith(model)} - known
    complete = {name: part for name, part in parts.items() if set(part.keys) <= set(names)}
    return complete | {name: Part((name,)) for name in others}


def _find_config(path: Path, tower: Tower) -> dict[str, Any]:
    """OpenCLIP's text_cfg: of the config beside the file, or of the model in its own list."""
    import open_clip

    given = find_config(path) or {"model_cfg": open_clip.get_model_config(tower.name) or {}}
    model: Mapping[str, Any] = given.get("model_cfg", given)
    return dict(model.get("text_cfg") or {})


def _build(config: Mapping[str, Any], tower: Tower, path: Path) -> Any:
    """An empty text transformer on the meta device, as OpenCLIP builds it."""
    from open_clip.model import _build_text_tower

    if not config:
        raise _unusable(path, "its config has no text_cfg")
    if config.get("hf_model_name") or config.get("hf_tokenizer_name"):
        raise _unusable(path, f"the words of {tower.name} are cut by a model that would have to be downloaded")
    try:
        with torch.device("meta"):
            return _build_text_tower(tower.embed_dim, dict(config), tower.quick_gelu)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise _unusable(path, f"OpenCLIP cannot build it ({error})") from error


def _tokenizer(config: Mapping[str, Any], path: Path) -> Any:
    """OpenCLIP's own tokenizer, with CLIP's vocabulary or with the one that the config names beside the file."""
    from open_clip.tokenizer import SimpleTokenizer

    merges = (config.get("tokenizer_kwargs") or {}).get(_VOCABULARY)
    given = {_VOCABULARY: str(path.parent / _relative(str(merges), path))} if merges else {}
    tokenizer = SimpleTokenizer(context_length=config.get("context_length", 77), **given)
    if tokenizer.vocab_size != config.get("vocab_size", tokenizer.vocab_size):
        raise _unusable(path, f"its vocabulary has {config['vocab_size']} words, and CLIP's {tokenizer.vocab_size}")
    return tokenizer


def _relative(merges: str, path: Path) -> str:
    """A place in or beside the folder of the weights: configs come with files of strangers."""
    if PurePosixPath(merges).anchor or PureWindowsPath(merges).anchor:
        raise _unusable(path, "its config names a vocabulary that is not beside it")
    return merges


def _unusable(path: Path, why: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(f"{_INSTEAD}; the text half of {path.name} cannot be used: {why}.")

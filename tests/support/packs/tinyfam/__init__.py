"""Test-only custom node: teaches ComfyUI a miniature SD1.5-like family, so that its stock loader reads a 14 M model."""

from typing import Any, ClassVar

import comfy.latent_formats
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
from comfy_api.latest import ComfyExtension, io

from .compile_node import TestCompileEager
from .probe_nodes import TestBadImage, TestImported

WIDTH = 64
TEXT_CONFIG = {
    "hidden_size": WIDTH,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "eos_token_id": 49407,
    "vocab_size": 49408,
}


class TinyTextModel(comfy.sd1_clip.SDClipModel):
    """The two-layer CLIP text encoder."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            layer="last",
            textmodel_json_config=dict(TEXT_CONFIG),
            return_projected_pooled=False,
            model_options=model_options or {},
        )


class TinyTokens(comfy.sd1_clip.SDTokenizer):
    """CLIP's tokens, for embeddings of the miniature width."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(
            embedding_directory=embedding_directory,
            embedding_size=WIDTH,
            embedding_key="clip_l",
            tokenizer_data=tokenizer_data or {},
        )


class TinyTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """What the host's CLIP nodes tokenize with."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=TinyTokens)


class TinyText(comfy.sd1_clip.SD1ClipModel):
    """What the host's CLIP nodes encode with."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None) -> None:
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=TinyTextModel)


class TinyFamily(comfy.supported_models_base.BASE):  # type: ignore[misc]
    """The row of the host's table of families; the number of input channels is free, and 9 is inpainting."""

    unet_config: ClassVar[dict[str, Any]] = {
        "model_channels": 32,
        "context_dim": WIDTH,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
    }
    unet_extra_config: ClassVar[dict[str, Any]] = {"num_heads": 8, "num_head_channels": -1}
    latent_format = comfy.latent_formats.SD15
    memory_usage_factor = 1.0

    def process_clip_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The text encoder's part of a checkpoint, under the names that the encoder expects."""
        return comfy.utils.state_dict_prefix_replace(state_dict, {"cond_stage_model.": "clip_l."}, filter_keys=True)

    def clip_target(self, state_dict: Any = None) -> comfy.supported_models_base.ClipTarget:
        """The tokenizer and text encoder to build."""
        return comfy.supported_models_base.ClipTarget(TinyTokenizer, TinyText)


if not any(family.__name__ == TinyFamily.__name__ for family in comfy.supported_models.models):
    comfy.supported_models.models.append(TinyFamily)


class Extension(ComfyExtension):
    """The nodes that tests use beside the family."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes of this package."""
        return [TestCompileEager, TestBadImage, TestImported]


async def comfy_entrypoint() -> Extension:
    """What ComfyUI calls when it loads this folder."""
    return Extension()

"""The small world's model family, so that ComfyUI's stock loader reads the demo model that the package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import comfy.latent_formats
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
from comfy.model_base import ModelType
from torch.nn.functional import pad

ROOT = Path(__file__).resolve().parents[2] / "models" / "small_world"

START, END = 672, 673
CONTEXT = 32
TEXT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": CONTEXT,
    "hidden_act": "quick_gelu",
    "eos_token_id": END,
}
_EMBEDDING = "clip_l.transformer.text_model.embeddings.token_embedding.weight"
_HOST_ROWS = 49408  # ComfyUI's text model always has the rows of CLIP's own vocabulary


class Sketches(comfy.latent_formats.LatentFormat):
    """Latents are small pictures, of three channels and an eighth of the size; so previews need no decoder."""

    latent_channels = 3
    scale_factor = 1.0
    latent_rgb_factors: ClassVar[list[list[float]]] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


class TextModel(comfy.sd1_clip.SDClipModel):
    """The two-layer text encoder."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=CONTEXT,
            layer="last",
            textmodel_json_config=dict(TEXT),
            special_tokens={"start": START, "end": END, "pad": END},
            return_projected_pooled=False,
            model_options=model_options or {},
        )


class Tokens(comfy.sd1_clip.SDTokenizer):
    """The small world's own vocabulary."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(
            tokenizer_path=str(ROOT / "tokenizer"),
            max_length=CONTEXT,
            embedding_directory=embedding_directory,
            embedding_size=TEXT["hidden_size"],
            embedding_key="clip_l",
            tokenizer_data=tokenizer_data or {},
        )


class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
    """The tokenizer that the host's CLIP nodes use."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=Tokens)


class Text(comfy.sd1_clip.SD1ClipModel):
    """The text encoder that the host's CLIP nodes use."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None) -> None:
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=TextModel)


class SmallWorld(comfy.supported_models_base.BASE):
    """The row of the host's table of model families."""

    unet_config: ClassVar[dict[str, Any]] = {
        "in_channels": 3,
        "model_channels": 32,
        "context_dim": 128,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
    }
    unet_extra_config: ClassVar[dict[str, Any]] = {"num_heads": 4, "num_head_channels": -1}
    # Twice the noise of SD's schedule: in sketches a background is still seen through the last of that.
    sampling_settings: ClassVar[dict[str, float]] = {"linear_start": 0.0015, "linear_end": 0.022}
    latent_format = Sketches
    memory_usage_factor = 1.0

    def model_type(self, state_dict: dict[str, Any], prefix: str = "") -> ModelType:
        """It predicts v: at twice the noise, an error in the noise would be a hundredfold error in the picture."""
        return ModelType.V_PREDICTION

    def process_clip_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The text encoder's part of a checkpoint as the host expects it: its names, and rows for CLIP's vocabulary."""
        text = comfy.utils.state_dict_prefix_replace(state_dict, {"cond_stage_model.": "clip_l."}, filter_keys=True)
        rows = text[_EMBEDDING]
        return {**text, _EMBEDDING: pad(rows, (0, 0, 0, _HOST_ROWS - len(rows)))}

    def clip_target(self, state_dict: Any = None) -> comfy.supported_models_base.ClipTarget:
        """The tokenizer and text encoder to build."""
        return comfy.supported_models_base.ClipTarget(Tokenizer, Text)


def register() -> None:
    """Teach the host the family, after its own."""
    if not any(family.__name__ == SmallWorld.__name__ for family in comfy.supported_models.models):
        comfy.supported_models.models.append(SmallWorld)

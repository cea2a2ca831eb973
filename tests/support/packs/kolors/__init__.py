"""Test-only custom node: the three nodes of ComfyUI-Kolors-MZ that a graph needs, on a miniature with Kolors' parts.

The model reads texts of another width than its layers, through a projection of its own; the texts are no real ones.
"""

import zlib
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_api.latest import ComfyExtension, io
from safetensors.torch import load_file

TEXT_WIDTH = 128
LLM = io.Custom("CHATGLM3MODEL")

folder_paths.add_model_folder_path("LLM", f"{folder_paths.models_dir}/LLM")


class KolorsUNet(UNetModel):  # type: ignore[misc]
    """The host's UNet behind a projection of the text."""

    def forward(self, x: Any, timesteps: Any = None, context: Any = None, *rest: Any, **more: Any) -> Any:
        """As the host calls it."""
        return super().forward(x, timesteps, self.encoder_hid_proj(context), *rest, **more)


class LoadUNet(io.ComfyNode):
    """A UNet file -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        files = folder_paths.get_filename_list("diffusion_models")
        return io.Schema(
            node_id="MZ_KolorsUNETLoaderV2",
            category="test",
            inputs=[io.Combo.Input("unet_name", options=files)],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, unet_name: str) -> io.NodeOutput:
        """The host's own loading, and the projection put in its place."""
        weights = load_file(folder_paths.get_full_path_or_raise("diffusion_models", unet_name))
        parts = {name: weights.pop(f"encoder_hid_proj.{name}") for name in ("weight", "bias")}
        model = comfy.sd.load_diffusion_model_state_dict(weights)
        network = model.model.diffusion_model
        network.encoder_hid_proj = torch.nn.Linear(*reversed(parts["weight"].shape))
        network.encoder_hid_proj.load_state_dict(parts)
        network.__class__ = KolorsUNet
        return io.NodeOutput(model)


class LoadLLM(io.ComfyNode):
    """A language model file -> its name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        files = folder_paths.get_filename_list("LLM")
        return io.Schema(
            node_id="MZ_ChatGLM3Loader",
            category="test",
            inputs=[io.Combo.Input("chatglm3_checkpoint", options=files)],
            outputs=[LLM.Output(display_name="chatglm3_model")],
        )

    @classmethod
    def execute(cls, chatglm3_checkpoint: str) -> io.NodeOutput:
        """Nothing is loaded."""
        return io.NodeOutput(chatglm3_checkpoint)


class EncodeText(io.ComfyNode):
    """A text -> CONDITIONING that differs from text to text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="MZ_ChatGLM3_V2",
            category="test",
            inputs=[LLM.Input("chatglm3_model"), io.String.Input("text", multiline=True)],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, chatglm3_model: str, text: str) -> io.NodeOutput:
        """Eight seeded tokens."""
        random = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return io.NodeOutput([[torch.randn(1, 8, TEXT_WIDTH, generator=random), {}]])


class Extension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes of this package."""
        return [LoadUNet, LoadLLM, EncodeText]


async def comfy_entrypoint() -> Extension:
    """What ComfyUI calls when it loads this folder."""
    return Extension()

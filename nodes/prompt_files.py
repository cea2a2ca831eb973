"""Nodes that keep image prompts in files."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..ip_adapter_core.prompts import prompt
from .host import prompt_files
from .host.adapters import LoadedAdapter
from .node import Node
from .sockets import ImagePrompt, IpAdapter, schema


class SavePrompt(Node):
    """IMAGE_PROMPT -> a file of models/image_prompts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_SavePrompt",
            "Save Image Prompt",
            "Keep an image prompt as a small file, to use it again without its pictures and without an encoder. "
            "Nothing is ever overwritten.",
            inputs=[
                ImagePrompt.Input("image_prompt", tooltip="The prompt to keep, from any node that gives one."),
                io.String.Input(
                    "filename_prefix",
                    default="prompt",
                    tooltip="Name in models/image_prompts, with folders if you like; a number is added.",
                ),
                io.String.Input(
                    "note",
                    default="",
                    optional=True,
                    tooltip="Anything you want to find in the file again; Load Image Prompt shows it.",
                ),
            ],
            outputs=[ImagePrompt.Output(display_name="image_prompt", tooltip="The same prompt, to go on with.")],
            aliases=["save file of embeds ipadapter", "ipadpt", "export image prompt"],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, image_prompt: prompt.ImagePrompt, filename_prefix: str, note: str = "") -> io.NodeOutput:
        return io.NodeOutput(image_prompt, ui=ui.PreviewText(prompt_files.save(image_prompt, filename_prefix, note)))


class LoadPrompt(Node):
    """A file of models/image_prompts + its adapter -> IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        offered = prompt_files.names()
        return schema(
            "IPA_LoadPrompt",
            "Load Image Prompt",
            "Use an image prompt of a file again, with the adapter that made it. Also reads the embeds that IPAdapter "
            "Plus saves (.ipadpt). Shows what the file says of itself.",
            inputs=[
                IpAdapter.Input(
                    "ip_adapter",
                    tooltip="The adapter that the prompt was made with. For .ipadpt files: any that reads such embeds.",
                ),
                io.Combo.Input(
                    "file",
                    options=offered,
                    tooltip="A prompt of Save Image Prompt, or an .ipadpt file of IPAdapter Plus, from "
                    "models/image_prompts. [input]: an .ipadpt file in ComfyUI's input folder.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Only for .ipadpt files of the plus kinds: says what the neutral image is, as in the "
                    "adapter's training. Left empty, zeros stand for it, as in IPAdapter Plus.",
                ),
                io.Combo.Input(
                    "negative",
                    options=prompt_files.negatives(offered),
                    default=prompt_files.NONE,
                    optional=True,
                    advanced=True,
                    tooltip="Only for .ipadpt files: another one, of what to move away from. Prompts of Save Image "
                    "Prompt bring their own negative side.",
                ),
            ],
            outputs=[ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt.")],
            has_intermediate_output=True,
            aliases=["load file of embeds ipadapter", "ipadpt"],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return prompt_files.complaint(file) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None, negative: str | None = prompt_files.NONE, **others: object) -> object:
        return prompt_files.fingerprint(file, negative)

    @classmethod
    def execute(
        cls,
        ip_adapter: LoadedAdapter,
        file: str,
        clip_vision: Any | None = None,
        negative: str = prompt_files.NONE,
    ) -> io.NodeOutput:
        loaded = prompt_files.load(ip_adapter, file, clip_vision, negative)
        return io.NodeOutput(loaded, ui=ui.PreviewText(prompt_files.about(file)))

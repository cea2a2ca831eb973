"""The node that trains an adapter on captioned pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..ip_adapter_core.training.fresh import TRAINABLE_KINDS
from ..ip_adapter_core.training.settings import Settings
from .host.adapters import LoadedAdapter
from .host.training import session
from .host.training.session import PRECISIONS, TrainingRequest
from .node import Node
from .sockets import IpAdapter, schema


class Train(Node):
    """Models + captioned pictures -> IP_ADAPTER, as the paper trains it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Train",
            "Train IP-Adapter",
            "Train an IP-Adapter on captioned pictures, on any UNet model. Interrupt it whenever you like: "
            "run the same graph again and it goes on where it stopped.",
            inputs=[*model_inputs(), *run_inputs(), *advanced_inputs(), start_input()],
            outputs=[
                IpAdapter.Output(display_name="ip_adapter", tooltip="The trained adapter, for Encode Image Prompt."),
                io.Image.Output(display_name="loss_curve", tooltip="The loss of every step and its running mean."),
            ],
            is_experimental=True,
            aliases=["training", "finetune", "lora training"],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str | None = None, **others: Any) -> object:
        return session.fingerprint(dataset)

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        clip_vision: Any,
        name: str,
        dataset: str,
        kind: str,
        resolution: int,
        precision: str,
        ip_adapter: LoadedAdapter | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        request = TrainingRequest(name, kind, dataset, resolution, Settings(**settings), precision)
        return io.NodeOutput(*session.run(request, session.encoder(model, clip, vae, clip_vision, kind), ip_adapter))


def model_inputs() -> list[io.Input]:
    """The frozen models."""
    return [
        io.Model.Input("model", tooltip="The model to train for: SD1.5, SD2, SDXL or another UNet. It is not changed."),
        io.Clip.Input("clip", tooltip="The model's text encoder, which reads the captions."),
        io.Vae.Input("vae", tooltip="The model's VAE, which turns the pictures into latents."),
        io.ClipVision.Input(
            "clip_vision",
            tooltip="The encoder the adapter will read pictures with. CLIP-ViT-H-14 is the usual choice.",
        ),
    ]


def run_inputs() -> list[io.Input]:
    """Inputs that every run needs."""
    return [
        io.String.Input(
            "dataset",
            default="",
            tooltip="Where the pictures are: a folder with a .txt beside each picture or a metadata.jsonl, a list file "
            "(.jsonl, .csv, .txt with tabs), or WebDataset shards such as shards-{0000..0009}.tar. "
            "An absolute path, or one in ComfyUI's input folder.",
        ),
        io.String.Input(
            "name",
            default="my-adapter",
            tooltip="Name of this run. Its state is kept in output/ip_adapter_training/<name>, and goes on from there.",
        ),
        io.Combo.Input(
            "kind",
            options=list(TRAINABLE_KINDS),
            default="base",
            tooltip="base: 4 tokens from the image embedding, quick to train. plus: 16 tokens from all patches, "
            "follows the reference more closely and needs more steps.",
        ),
        io.Int.Input("steps", default=2000, min=1, max=10_000_000, tooltip="Steps in all; raise it to train on."),
        io.Int.Input(
            "batch", default=4, min=1, max=4096, tooltip="Pictures per step. The paper's training has 64 in all."
        ),
        io.Float.Input(
            "learning_rate",
            default=1e-4,
            min=0.0,
            max=1.0,
            step=1e-6,
            round=False,
            tooltip="How far a step goes. 0.0001 as in the paper; a tenth of it to train on from a good adapter.",
        ),
        io.Int.Input(
            "resolution",
            default=512,
            min=32,
            max=4096,
            step=32,
            tooltip="Pictures are resized and cut to this square: 512 for SD1.5, up to 1024 for SDXL.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**63 - 1,
            control_after_generate=False,  # left open, the editor would draw another one after each run
            tooltip="Seed of weights, order, noise and dropping.",
        ),
    ]


def advanced_inputs() -> list[io.Input]:
    """Inputs whose defaults are those of the paper, or which few runs need."""
    return [
        io.Float.Input(
            "weight_decay", default=0.01, min=0.0, max=10.0, step=0.001, advanced=True, tooltip="AdamW's; 0.01 usually."
        ),
        share_input("drop_text", "the caption, so that the image alone can prompt"),
        share_input("drop_image", "the image, so that guidance knows what it is without one"),
        share_input("drop_both", "both"),
        io.Int.Input(
            "accumulate", default=1, min=1, max=4096, advanced=True, tooltip="Batches per step, when memory is short."
        ),
        io.Float.Input(
            "ema",
            default=0.0,
            min=0.0,
            max=0.99999,
            step=0.0001,
            round=False,
            advanced=True,
            tooltip="Decay of a moving average of the weights, which is what comes out; 0 for none, 0.999 usually.",
        ),
        io.Combo.Input(
            "precision",
            options=list(PRECISIONS),
            default="fp32",
            advanced=True,
            tooltip="What the adapter computes in while it is trained; its weights are kept in fp32. "
            "bf16 is faster on new GPUs.",
        ),
        io.Boolean.Input(
            "gradient_checkpointing",
            default=False,
            advanced=True,
            tooltip="Compute the model twice per step to need less memory.",
        ),
        io.Int.Input(
            "save_every",
            default=500,
            min=1,
            max=10_000_000,
            advanced=True,
            tooltip="Steps between two writings of the state. It is also written when you interrupt.",
        ),
    ]


def share_input(name: str, what: str) -> io.Float.Input:
    """The input for how often a condition is left out."""
    return io.Float.Input(
        name,
        default=0.05,
        min=0.0,
        max=1.0,
        step=0.01,
        advanced=True,
        tooltip=f"How often training leaves out {what}; 0.05 in the paper.",
    )


def start_input() -> io.Input:
    """The input for the adapter to train on from."""
    return IpAdapter.Input(
        "ip_adapter",
        optional=True,
        tooltip="Train on from this adapter, of the same kind, model and encoder. Left empty, a new one is begun.",
    )

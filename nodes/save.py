"""The node that writes an adapter to a file."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_adapter_core.adapters.saving import DTYPES
from .host import adapters
from .host.adapters import LoadedAdapter
from .node import Node
from .sockets import IpAdapter, schema


class SaveAdapter(Node):
    """IP_ADAPTER -> a file of the ipadapter folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_SaveAdapter",
            "Save IP-Adapter",
            "Write an adapter to models/ipadapter, in the layout of most published files. Nothing is ever overwritten.",
            inputs=[
                IpAdapter.Input("ip_adapter", tooltip="The adapter to write, from Train IP-Adapter or any loader."),
                io.String.Input(
                    "filename_prefix",
                    default="trained/ip-adapter",
                    tooltip="Name in models/ipadapter, with folders if you like; a number is added.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="fp16",
                    tooltip="fp16 is half as large and the usual choice; fp32 keeps every bit, to train on from it.",
                ),
            ],
            outputs=[],
            aliases=["export adapter"],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, ip_adapter: LoadedAdapter, filename_prefix: str, dtype: str) -> io.NodeOutput:
        return io.NodeOutput(ui=ui.PreviewText(adapters.save(ip_adapter, filename_prefix, dtype)))

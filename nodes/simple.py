"""The node that does everything: a model and a picture in, a model that follows the picture out."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from .apply import Apply, span_inputs, weight_input
from .encode import Encode, fit_input
from .load import AutoLoad, kind_input
from .sockets import schema


class Simple(io.ComfyNode):
    """MODEL + image + weight -> MODEL, by way of the other nodes, so that each of their results is cached."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Simple",
            "IP-Adapter",
            "Prompt a model with a picture. Finds the adapter and the encoder that fit the model by itself.",
            inputs=[
                io.Model.Input("model", raw_link=True, tooltip="The model to prompt."),
                io.Image.Input("image", raw_link=True, tooltip="One or more reference images."),
                weight_input(),
                *span_inputs(),
                kind_input(),
                fit_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the image prompt.")],
            aliases=["ipadapter", "ip-adapter", "ipadapter simple", "image prompt"],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls, model: list, image: list, weight: float, start: float, end: float, unit: str, kind: str, fit: str
    ) -> io.NodeOutput:
        graph = GraphBuilder()
        found = graph.node(AutoLoad.GET_SCHEMA().node_id, model=model, kind=kind)
        encoded = graph.node(
            Encode.GET_SCHEMA().node_id, ip_adapter=found.out(0), clip_vision=found.out(1), image=image, fit=fit
        )
        applied = graph.node(
            Apply.GET_SCHEMA().node_id,
            model=model,
            image_prompt=encoded.out(0),
            weight=weight,
            start=start,
            end=end,
            unit=unit,
        )
        return io.NodeOutput(applied.out(0), expand=graph.finalize())

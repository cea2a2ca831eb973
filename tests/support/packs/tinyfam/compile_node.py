"""Test-only node: compiles a model as core's TorchCompileModel does, with a backend that needs no compiler."""

from typing import Any

from comfy_api.latest import io
from comfy_api.torch_helpers import set_torch_compile_wrapper


def without_options(guards: list[Any]) -> list[bool]:
    """Core's filter: what is traced does not depend on transformer_options."""
    return ["transformer_options" not in guard.name for guard in guards]


class TestCompileEager(io.ComfyNode):
    """MODEL -> compiled MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node as ComfyUI sees it."""
        return io.Schema(
            node_id="TestCompileEager",
            category="test",
            inputs=[io.Model.Input("model")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        """Compile a clone."""
        clone = model.clone()
        set_torch_compile_wrapper(model=clone, backend="eager", options={"guard_filter_fn": without_options})
        return io.NodeOutput(clone)

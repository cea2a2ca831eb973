"""The table of our nodes says what the nodes themselves say."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.migrate.ours import ALL, OURS
from schemas import schemas

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.mark.parametrize("node", OURS)
def test_names_types_defaults_and_order_are_those_of_the_node(node: str) -> None:
    from comfy_api.latest import io

    schema = schemas()[node]
    ordered = sorted(schema.inputs, key=lambda given: bool(given.optional))
    widgets = [given for given in ordered if isinstance(given, io.WidgetInput)]
    sockets = [given for given in ordered if not isinstance(given, io.WidgetInput)]
    assert [(socket.name, socket.type) for socket in ALL[node].sockets] == [
        (given.id, given.get_io_type()) for given in sockets
    ]
    assert list(ALL[node].widgets) == [given.id for given in widgets]
    assert [(output.name, output.type) for output in ALL[node].outputs] == [
        (output.display_name, output.get_io_type()) for output in schema.outputs
    ]
    assert ALL[node].name == schema.display_name


@pytest.mark.parametrize("node", OURS)
def test_a_widget_that_a_plan_leaves_out_has_the_default_of_the_node(node: str) -> None:
    for given in schemas()[node].inputs:
        default = getattr(given, "default", None)
        if given.id in ALL[node].widgets and default is not None and ALL[node].widgets[given.id] != "":
            assert ALL[node].widgets[given.id] == default

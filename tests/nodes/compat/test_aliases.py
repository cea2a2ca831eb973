"""Who types the name of an old node finds one of this package's own."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES
from schemas import schemas

pytestmark = pytest.mark.usefixtures("comfy")

OLD_NAMES = {signature.name for signature in (SIGNATURES | OTHER_SHAPES).values()}


def found(typed: str) -> list[str]:
    """The own nodes whose name or another word for it has what is typed, as the editor searches."""
    return [
        node
        for node, schema in schemas().items()
        if any(typed in word.lower() for word in (schema.display_name, *schema.search_aliases))
    ]


@pytest.mark.parametrize("name", sorted(OLD_NAMES))
def test_the_name_of_an_old_node_finds_an_own_node(name: str) -> None:
    assert found(name.lower()), f"Add “{name.lower()}” to the aliases of the node that does what it did."


def test_a_name_that_no_node_has_finds_nothing() -> None:
    assert not found("ipadapter of nobody")

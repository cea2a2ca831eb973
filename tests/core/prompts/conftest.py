"""The fixture that the tests of prompts share: an adapter."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from fabricate import adapters


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """The tiny adapter of the base kind."""
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "a.safetensors", adapters.adapter()))

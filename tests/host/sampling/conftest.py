"""The fixtures that the tests of sampling share: a small MODEL and an image prompt for it."""

from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from sampled import make_prompt
from twins import Twins


@pytest.fixture(scope="module")
def model(small: Twins) -> Any:
    """The MODEL; modules that need all of SD1.5's layers have their own."""
    return small.patcher


@pytest.fixture(scope="module")
def prompt(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    """One image of one adapter."""
    return make_prompt(small, tmp_path_factory.mktemp("adapters"), 1)

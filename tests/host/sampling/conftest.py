"""The fixtures that the tests of sampling share: a small MODEL and an image prompt for it, and every construction."""

from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from constructions import ADAPTED, Adapted, Encode, encoder
from sampled import apply, make_prompt, sample
from twins import Twins


@pytest.fixture(scope="module")
def model(small: Twins) -> Any:
    """The MODEL; modules that need another one have their own."""
    return small.patcher


@pytest.fixture(scope="module")
def prompt(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    """One image of one adapter."""
    return make_prompt(small, tmp_path_factory.mktemp("adapters"), 1)


@pytest.fixture(scope="module", params=ADAPTED)
def adapted(request: pytest.FixtureRequest) -> Adapted:
    """A row of the table of constructions: a test that asks for it is run for every one."""
    return ADAPTED[request.param]


@pytest.fixture(scope="module")
def twins(adapted: Adapted, request: pytest.FixtureRequest) -> Twins:
    """The model of that row."""
    found: Twins = request.getfixturevalue(adapted.twins)
    return found


@pytest.fixture(scope="module")
def encode(adapted: Adapted, twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> Encode:
    """Prompts of one adapter for it."""
    return encoder(adapted, twins, tmp_path_factory.mktemp("adapters"), 1)


@pytest.fixture(scope="module")
def prompts(
    adapted: Adapted, twins: Twins, encode: Encode, tmp_path_factory: pytest.TempPathFactory
) -> list[ImagePrompt]:
    """Two prompts of two adapters for it."""
    return [encode(1), encoder(adapted, twins, tmp_path_factory.mktemp("adapters"), 2)(2)]


@pytest.fixture(scope="module")
def bare(model: Any) -> Tensor:
    """The picture of the module's model without a prompt."""
    return sample(model)


@pytest.fixture(scope="module")
def prompted(model: Any, prompts: list[ImagePrompt]) -> Tensor:
    """Its picture with the first prompt."""
    return sample(apply(model, prompts[0]))


@pytest.fixture(scope="module")
def steps(comfy: None) -> ModuleType:
    """The module that tells steps."""
    from comfyui_ip_adapter.nodes.host.sampling import steps

    return steps


@pytest.fixture
def instants(steps: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float, Any]]:
    """For every call of the model: the clock, the noise level, and when the clock says the call is."""
    seen: list[tuple[Any, float, Any]] = []
    original = steps.Clock.now

    def recording(clock: Any, sigma: Tensor) -> Any:
        found = original(clock, sigma)
        seen.append((clock, float(sigma.flatten()[0]), found))
        return found

    monkeypatch.setattr(steps.Clock, "now", recording)
    return seen

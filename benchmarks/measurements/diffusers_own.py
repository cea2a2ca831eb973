"""Goal 11: diffusers with its own IP-Adapter, measured in the same way as our nodes in ComfyUI."""

from __future__ import annotations

import gc
import random
import time
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from fabricate.adapters import adapter as nested

from ...ip_adapter_core.layers.families import FAMILIES
from ..adapters import adapter
from ..cases import MANY, ONE, PLAIN, ours
from ..cost import conditions, cost
from ..figures import Findings
from ..sampling import CELL
from ..settings import Settings
from ..timing import differences, mixed, ratios, spread
from ..unets import TEXT_TOKENS, fill, unet

GOALS = {"one to diffusers": ONE, "many to diffusers": MANY}

_SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
# In diffusers' order: options of the adapter file, and what its images are encoded as, (…, embed) of one image.
OWN: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    ONE: ({"kind": "base", "embed": 1024}, (1024,)),
    MANY: ({"kind": "plus", "embed": 1280, "tokens": 16, "width": 768}, (257, 1280)),
}


def measure(settings: Settings) -> Findings:
    """Shares of each library's own call, one library after the other, as two such models are large."""
    found = Findings()
    try:
        import diffusers  # noqa: F401
    except ImportError:
        found.lack(list(GOALS), "diffusers is not installed")
        return found
    own = our_shares(settings)
    gc.collect()
    theirs = their_shares(settings)
    how = conditions(settings, "SD1.5, each of its own call")
    for goal, name in GOALS.items():
        found.add(goal, ratios(own[name], theirs[name]), "×", how)
        found.add(f"added by {name}, in ComfyUI", own[name], "%", how)
        found.add(f"added by {name}: diffusers with its own", theirs[name], "%", how)
    return found


def our_shares(settings: Settings) -> dict[str, list[float]]:
    """What our nodes add in ComfyUI, in percent of a call."""
    model = unet("SD1.5")
    loads = {ONE: adapter(model, 4), MANY: adapter(model, 16)}
    cases = {PLAIN: model, **{name: ours(model, [one.prompt]) for name, one in loads.items()}}
    return cost(model, cases, settings).shares


def their_shares(settings: Settings) -> dict[str, list[float]]:
    """What diffusers' own adapter adds, its projection in every call included, in percent of a call."""
    network = their_unet()
    probe = Probe(network)
    calls = []
    with torch.no_grad():
        for _ in range(settings.repeats + 1):
            probe.open()
            begun = time.perf_counter()
            network(**inputs(settings.size))
            calls.append(time.perf_counter() - begun - probe.extra)
    call = spread(calls[1:]).median
    return {name: [100 * seconds / call for seconds in probe.added(name)[1:]] for name in OWN}


def their_unet() -> Any:
    """SD1.5's UNet with both adapters, attached by diffusers' own loader."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network = UNet2DConditionModel(**_SD15)
    network.to_empty(device="cpu")
    fill(network)
    known = FAMILIES["SD1.5"]
    files = [nested(widths=known.widths, context=known.context, seed=1, **made) for made, _ in OWN.values()]
    network._load_ip_adapter_weights(files, low_cpu_mem_usage=False)  # what its pipelines call
    return network.eval().requires_grad_(False)


def inputs(size: int) -> dict[str, Any]:
    """The arguments of a call on noise, with embeddings of one image for each adapter."""
    side = size // CELL
    images = [torch.randn(2, 1, *embedding) for _, embedding in OWN.values()]
    return {
        "sample": torch.randn(2, 4, side, side),
        "timestep": torch.tensor([500, 500]),
        "encoder_hidden_states": torch.randn(2, TEXT_TOKENS, FAMILIES["SD1.5"].context),
        "added_cond_kwargs": {"image_embeds": images},
    }


class Probe:
    """Takes the time between the value projection and the output projection of each cross-attention, with each adapter
    and without any, and the time of the projections of images."""

    def __init__(self, network: Any) -> None:
        self.sites: dict[str, list[float]] = defaultdict(list)
        self.projected: dict[str, list[float]] = defaultdict(list)
        self.extra = 0.0
        self.case = PLAIN
        self.order = random.Random(0)
        self._begun = 0.0
        layers = network.encoder_hid_proj.image_projection_layers
        for name, layer in zip(OWN, layers, strict=True):
            layer.register_forward_pre_hook(lambda *_: self._begin())
            layer.register_forward_hook(lambda *_, name=name: self._projected(name))
        processors = network.attn_processors
        for name, processor in processors.items():
            if hasattr(processor, "to_k_ip"):
                processors[name] = Site(self, processor)
                self._watch(network.get_submodule(name.removesuffix(".processor")))
        network.set_attn_processor(processors)

    def open(self) -> None:
        """A call of the network begins."""
        self.extra = 0.0
        for name in (PLAIN, *OWN):
            self.sites[name].append(0.0)
            self.projected[name].append(0.0)

    def added(self, name: str) -> list[float]:
        """Seconds that an adapter adds to each call."""
        at_sites = differences(self.sites[name], self.sites[PLAIN])
        return [a + b for a, b in zip(at_sites, self.projected[name], strict=True)]

    def _watch(self, layer: Any) -> None:
        layer.to_v.register_forward_hook(lambda *_: self._begin())
        layer.to_out[0].register_forward_pre_hook(lambda *_: self._attended())

    def _begin(self) -> None:
        self._begun = time.perf_counter()

    def _attended(self) -> None:
        self.sites[self.case][-1] += time.perf_counter() - self._begun

    def _projected(self, name: str) -> None:
        taken = time.perf_counter() - self._begun
        self.projected[name][-1] += taken
        self.extra += taken


class Site:
    """What stands in place of a cross-attention's processor: the plain one and each adapter's, in mixed order."""

    def __init__(self, probe: Probe, own: Any) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self._probe, self._own, self._plain = probe, own, AttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, list[Tensor]],
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """The plain result. The names are those that diffusers calls with."""
        results = {}
        for case in mixed((PLAIN, *OWN), self._probe.order):
            self._probe.case = case
            begun = time.perf_counter()
            found = self._run(case, attn, hidden_states, encoder_hidden_states)
            if case == PLAIN:
                results[case] = found
            else:
                self._probe.extra += time.perf_counter() - begun
        return results[PLAIN]

    def _run(self, case: str, attn: Any, hidden: Tensor, given: tuple[Tensor, list[Tensor]]) -> Tensor:
        if case == PLAIN:
            found: Tensor = self._plain(attn, hidden, given[0])
            return found
        self._own.scale = [float(case == name) for name in OWN]  # adapters at 0 are skipped
        found = self._own(attn, hidden, given)
        return found

"""What `make bench` rests on: the peers' method says what ours says, probing changes nothing, and figures are right."""

import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from comfyui_ip_adapter.benchmarks import curves, figures, goals, report, storages, timing
from fabricate import adapters as files
from package import ROOT
from sampled import difference, noise, sample
from twins import Twins, call

pytestmark = pytest.mark.usefixtures("comfy")

LAYERS = 16
SIZE = 64  # pixels of a side

PACK = """
import folder_paths
from safetensors.torch import load_file
class Loader:
    FUNCTION = "read"
    def read(self, ipadapter_file):
        return (load_file(folder_paths.get_full_path("ipadapter", ipadapter_file)),)
class Embeds:
    FUNCTION = "use"
    def use(self, model, ipadapter, pos_embed, weight, weight_type, start_at, end_at, neg_embed, embeds_scaling):
        strength = weight * len([name for name in ipadapter if name.endswith("to_k_ip.weight")])
        clone = model.clone()
        clone.set_model_attn2_replace(lambda q, k, v, extra: q * strength, "middle", 0)
        return (clone,)
NODE_CLASS_MAPPINGS = {"IPAdapterModelLoader": Loader, "IPAdapterEmbeds": Embeds}
"""


@pytest.fixture(scope="module")
def twins(comfy: None) -> Twins:
    return Twins("SD1.5")


@pytest.fixture(scope="module")
def hollow(comfy: None) -> Any:
    """SD1.5 in its true size, whose network is never called."""
    from comfyui_ip_adapter.benchmarks import unets

    return unets.hollow("SD1.5")


def found(*values: tuple[str, float]) -> figures.Findings:
    return figures.Findings([figures.Figure(name, value, "×", "somehow") for name, value in values])


class Time:
    """A clock that stands still until something takes time."""

    now = 0.0

    def take(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> float:
        return self.now


@pytest.mark.parametrize("count", [1, 3])
def test_the_peers_method_gives_what_ours_gives(twins: Twins, count: int) -> None:
    from comfyui_ip_adapter.benchmarks import adapters, cases, peers

    made = [adapters.adapter(twins.patcher, 4, seed) for seed in range(count)]
    ours = sample(cases.ours(twins.patcher, [one.prompt for one in made]))
    assert difference(sample(peers.apply(twins.patcher, made)), ours) < 1e-4
    assert difference(sample(twins.patcher), ours) > 0.01


def test_the_peers_method_gives_what_ours_gives_for_frames_and_references(twins: Twins) -> None:
    from comfyui_ip_adapter.benchmarks import adapters, cases, peers

    frames = adapters.adapter(twins.patcher, 4, frames=3, references=2)
    sampled = partial(sample, given=noise(3))
    ours = sampled(cases.ours(twins.patcher, [frames.prompt]))
    assert difference(sampled(peers.apply(twins.patcher, [frames])), ours) < 1e-4
    apart = [difference(ours[row], ours[0]) for row in (1, 2)]
    assert min(apart) > 0.01


def test_a_probed_call_gives_what_the_plain_model_gives(twins: Twins) -> None:
    from comfyui_ip_adapter.benchmarks import adapters, cases, peers, sampling, sites
    from comfyui_ip_adapter.nodes.host import models

    one = adapters.adapter(twins.patcher, 4)
    model = twins.patcher
    applied = {"plain": model, "ours": cases.ours(model, [one.prompt]), "peers": peers.apply(model, [one])}
    probe = sites.Probe({name: sampling.observed(case, SIZE) for name, case in applied.items()})
    probe.open()
    probed = model.clone()
    for layer in models.layers(model):
        probed.set_model_attn2_replace(probe, layer.stage, layer.block, layer.depth)
    assert torch.equal(sample(probed), sample(model))
    assert all(seconds[0] > 0 for seconds in probe.calls.values())


def test_every_case_of_a_call_is_timed_in_every_counted_call(twins: Twins) -> None:
    from comfyui_ip_adapter.benchmarks import sites

    timed = sites.in_call(twins.patcher, {"plain": twins.patcher, "null": twins.patcher.clone()}, SIZE, 2)
    assert {name: len(seconds) for name, seconds in timed.cases.items()} == {"plain": 2, "null": 2}
    assert len(timed.calls) == 2


def test_cases_race_on_the_same_inputs_and_each_gets_its_own_seconds(comfy: None) -> None:
    from comfyui_ip_adapter.benchmarks.sites import Race

    time, seen = Time(), []

    def patched(name: str, seconds: float) -> dict[str, Any]:
        def act(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
            seen.append((name, options["n_heads"], options["own"]))
            time.take(seconds)
            return q * seconds

        return {"patches_replace": {"attn2": {("middle", 0, 0): act}}, "own": name, "n_heads": 1}

    race = Race({"plain": patched("plain", 2), "other": patched("other", 5)}, time.read)
    one = torch.ones(1)
    taken, result = race.run(("middle", 0, 0), (one, one, one), {"n_heads": 8})
    assert taken == {"plain": 2, "other": 5}
    assert result == 2
    assert sorted(seen) == [("other", 8, "other"), ("plain", 8, "plain")]


def test_a_layer_without_a_patch_of_its_own_runs_that_of_its_block_or_none(comfy: None) -> None:
    from comfyui_ip_adapter.benchmarks.sites import at, text_attention

    options = {"patches_replace": {"attn2": {("input", 1): max, ("input", 1, 1): min}}, "patches": {}, "sigmas": 3}
    assert at(options, ("input", 1, 1), {})[0] is min
    assert at(options, ("input", 1, 0), {})[0] is max
    assert at(options, ("middle", 0, 0), {})[0] is text_attention
    assert at(options, ("middle", 0, 0), {"n_heads": 8})[1] == {"sigmas": 3, "n_heads": 8}


@pytest.mark.parametrize(("family", "layers", "finest"), [("SD1.5", 16, (2, 64, 320)), ("SDXL", 70, (2, 16, 640))])
def test_sites_are_found_without_computing(comfy: None, family: str, layers: int, finest: tuple[int, ...]) -> None:
    from comfyui_ip_adapter.benchmarks.sites import sites

    where = sites(family, SIZE)
    assert len({site.address for site in where}) == layers
    assert where[0].q == finest
    assert where[0].told["n_heads"] == (8 if family == "SD1.5" else 10)


def test_kernels_and_reads_of_the_peers_method_are_thirteen_a_layer_and_one(
    hollow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.ldm.modules import attention

    from comfyui_ip_adapter.benchmarks import adapters, peers
    from comfyui_ip_adapter.benchmarks.launches import launches
    from comfyui_ip_adapter.benchmarks.sites import sites

    monkeypatch.setattr(attention, "optimized_attention", attention.attention_pytorch)
    where = sites("SD1.5", SIZE)
    plain = launches(hollow, where, SIZE)
    more = launches(peers.apply(hollow, [adapters.adapter(hollow, 4)]), where, SIZE) - plain
    # Four projections, four repeats, two concatenations, attention, product, sum.
    assert more == (13 * LAYERS, LAYERS)
    assert launches(hollow.clone(), where, SIZE) == plain


@pytest.mark.parametrize(("adapters", "each"), [(1, 2), (4, 3)])
def test_gpus_start_two_kernels_a_layer_for_one_adapter_and_three_for_several(
    hollow: Any, monkeypatch: pytest.MonkeyPatch, adapters: int, each: int
) -> None:
    from comfy.ldm.modules import attention

    from comfyui_ip_adapter.benchmarks.adapters import prompt
    from comfyui_ip_adapter.benchmarks.cases import ours
    from comfyui_ip_adapter.benchmarks.launches import launches
    from comfyui_ip_adapter.benchmarks.sites import sites
    from comfyui_ip_adapter.ip_adapter_core.attention.grouped import FORM_OF

    monkeypatch.setattr(attention, "optimized_attention", attention.attention_pytorch)
    monkeypatch.setitem(FORM_OF, "cpu", FORM_OF["cuda"])
    where = sites("SD1.5", SIZE)
    used = ours(hollow, [prompt(hollow, 4) for _ in range(adapters)])
    assert launches(used, where, SIZE) - launches(hollow, where, SIZE) == (each * LAYERS, 0)


def test_operators_that_only_look_at_tensors_are_no_kernels() -> None:
    from torch.profiler import ProfilerActivity, profile

    from comfyui_ip_adapter.benchmarks.launches import count

    q = torch.randn(2, 8, 4)
    sums = torch.zeros(2, 8, 8)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        scores = q @ q.transpose(1, 2)
        q.new_empty(3)
        shares = scores.mT.mT.reshape(2, 8, 2, 4).softmax(-1).flatten(-2).contiguous()
        sums.baddbmm_(shares, scores[0].expand(2, -1, -1))
    assert sum(count(event) for event in profiled.events() if event.cpu_parent is None) == 3


def test_held_storages_are_counted_once_and_without_those_of_others() -> None:
    shared, own = torch.zeros(100), torch.zeros(50)
    holder = {"a": [shared, shared[:10]], "b": partial(max, own), "c": lambda: shared, "net": torch.nn.Linear(9, 9)}
    assert sum(storages.storages(holder).values()) == 600
    assert storages.held(holder, storages.storages(shared)) == 200


def test_a_sampling_holds_keys_and_values_of_its_own(hollow: Any) -> None:
    from comfyui_ip_adapter.benchmarks import adapters, cases, sampling

    prompt = adapters.prompt(hollow, 4)
    before = storages.storages(prompt, sampling.observed(hollow, SIZE))
    held = storages.held(sampling.observed(cases.ours(hollow, [prompt]), SIZE), before)
    widths = sum(pair.keys.shape[-1] for pair in prompt.parts[0].keys_values)
    assert 2 * 2 * 4 * 4 * widths <= held < 1.1 * 2 * 2 * 4 * 4 * widths  # K' and V', sides, tokens, bytes


def test_longer_animations_need_no_more_memory_on_the_device(comfy: None) -> None:
    from comfyui_ip_adapter.benchmarks.animation_memory import measured, prompt, spread

    main, device = measured(prompt(32, 4), 32)
    more, same = measured(prompt(64, 4), 64)
    assert device == same > 0
    assert more > 1.9 * main
    assert measured(spread(prompt(2, 4), 64), 64) == (measured(prompt(2, 4), 2)[0], device)


def test_medians_and_quartiles_of_repeats() -> None:
    assert timing.spread([5, 1, 2, 4, 3]) == (3, 2, 4)
    assert timing.spread([7]) == (7, 7, 7)
    with pytest.raises(ValueError, match="one repeat"):
        timing.spread([])


def test_repeats_are_compared_in_pairs() -> None:
    # The machine is slow in the second repeat: both are, and neither difference nor ratio tells.
    assert timing.differences([3, 13, 3], [2, 12, 2]) == [1, 1, 1]
    assert timing.ratios([1, 3, 2], [4, 12, 8]) == [0.25, 0.25, 0.25]
    with pytest.raises(ValueError, match="argument"):
        timing.differences([1, 2], [1])


def test_actions_are_interleaved_and_the_first_round_is_not_counted() -> None:
    time, order = Time(), []
    slow_at_first = {"a": iter((90, 1, 1, 1)), "b": iter((90, 3, 3, 3))}

    def action(name: str) -> None:
        order.append(name)
        time.take(next(slow_at_first[name]))

    taken = timing.interleaved({name: partial(action, name) for name in "ab"}, 3, time.read)
    assert taken == {"a": [1, 1, 1], "b": [3, 3, 3]}
    assert [set(order[at : at + 2]) for at in range(0, 8, 2)] == [{"a", "b"}] * 4


def test_orders_are_mixed() -> None:
    order = random.Random(0)
    assert len({tuple(timing.mixed("abc", order)) for _ in range(100)}) == 6


def test_a_goal_is_met_up_to_its_limit_and_not_above() -> None:
    text = report.markdown(found(("one to peers", 0.35), ("four to one", 1.61)), {"threads": "2"})
    assert "against the peers' method: at most 0.35 × | 0.35 × | met |" in text
    assert "against one: at most 1.6 × | 1.61 × | **not met** |" in text


def test_the_report_says_why_a_goal_was_not_measured() -> None:
    findings = found(("a curiosity", 2))
    findings.lack(["cuda fp16", "PEER"], "not run: no CUDA device")
    text = report.markdown(findings, {"threads": "2"})
    assert "at most 0.7 % | not run: no CUDA device |" in text
    assert "| PEER | not measured | not run: no CUDA device |" in text
    assert "| a curiosity | 2 × | somehow |" in text
    assert "met" not in text.replace("method", "")
    assert all(goal.text in text for goal in goals.GOALS)


def test_a_figure_of_repeats_tells_its_quartiles() -> None:
    findings = figures.Findings()
    findings.add("x", [1.0, 2.0, 3.0, 4.0, 5.0], "ms", "on paper")
    assert report.number(findings.figures[0]) == "3 ms (2 to 4)"
    assert findings.figures[0].how == "on paper, 5 repeats"


def test_goals_have_names_of_their_own() -> None:
    assert len({goal.name for goal in goals.GOALS}) == len({goal.text for goal in goals.GOALS}) == len(goals.GOALS)


def test_findings_come_back_from_a_file(tmp_path: Path) -> None:
    findings = found(("one to peers", 0.2))
    findings.lack(["PEER"], "none was named")
    findings.growth["tokens"] = {"ours": [(4.0, 1.5), (8.0, 2.5)]}
    figures.write(findings, tmp_path / "found.json")
    again = figures.read(tmp_path / "found.json")
    assert (again.figures, again.missing) == (findings.figures, findings.missing)
    assert report.growth("tokens", again.growth["tokens"]) == report.growth("tokens", findings.growth["tokens"])


def test_the_picture_of_growth_has_a_panel_for_each_thing_that_grows(tmp_path: Path) -> None:
    growth = {name: {"ours": [(1.0, 1.0), (2.0, 2.0)], "peers": [(1.0, 2.0), (2.0, 4.0)]} for name in "abc"}
    curves.draw(growth, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
        assert picture.size == (2 * curves.SIZE[0], 2 * curves.SIZE[1] + curves.STRIP)
    assert {tuple(bytes.fromhex(colour[1:])) for colour in curves.COLOURS} <= colours


def test_probing_diffusers_leaves_what_it_computes(comfy: None) -> None:
    from comfyui_ip_adapter.benchmarks.measurements import diffusers_own

    twins, embeddings = Twins("SD1.5"), [shape for _, shape in diffusers_own.OWN.values()]
    given = call(twins.context)
    plain = twins.call_reference(given)
    own = [
        files.adapter(context=twins.context, seed=1, **{"widths": files.TINY_WIDTHS, **made})
        for made, _ in diffusers_own.OWN.values()
    ]
    twins.reference._load_ip_adapter_weights(own, low_cpu_mem_usage=False)
    probe = diffusers_own.Probe(twins.reference)
    probe.open()
    sampling = twins.patcher.model.model_sampling
    images = {"image_embeds": [torch.randn(2, 1, *shape) for shape in embeddings]}
    with torch.no_grad():
        scaled = sampling.calculate_input(given.sigma, given.x)
        probed = twins.reference(scaled, sampling.timestep(given.sigma), given.text, added_cond_kwargs=images).sample
    assert difference(probed, plain) < 1e-6
    assert all(probe.sites[name][0] > 0 and probe.projected[name][0] > 0 for name in diffusers_own.OWN)


def test_another_pack_is_applied_through_its_documented_nodes(hollow: Any, tmp_path: Path) -> None:
    from comfyui_ip_adapter.benchmarks import adapters, pack, sampling
    from comfyui_ip_adapter.nodes.host.files import register_folders

    register_folders()
    (tmp_path / "peer_pack").mkdir()
    (tmp_path / "peer_pack" / "__init__.py").write_text(PACK)
    applied = pack.loaded(tmp_path / "peer_pack")(hollow, [adapters.adapter(hollow, 4), adapters.adapter(hollow, 16)])
    patch = sampling.observed(applied, SIZE)["patches_replace"]["attn2"]["middle", 0]
    assert patch(torch.ones(1), None, None, {}) == LAYERS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no __init__.py"),
        ("NODE_CLASS_MAPPINGS = {}", "no node IPAdapterModelLoader and no IPAdapterEmbeds"),
        ("raise ImportError", "cannot load"),
        (PACK.replace("weight_type, ", ""), "does not run"),
    ],
)
def test_a_pack_that_cannot_be_run_is_told_apart(
    hollow: Any, tmp_path: Path, text: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nodes as host
    from comfyui_ip_adapter.benchmarks import adapters, pack

    monkeypatch.setattr(host, "NODE_CLASS_MAPPINGS", {})
    if text is not None:
        (tmp_path / "__init__.py").write_text(text)
    with pytest.raises(ValueError, match=says):
        pack.loaded(tmp_path)(hollow, [adapters.adapter(hollow, 4)])


def test_an_unknown_measurement_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run.py", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no measurement nothing; there are added" in done.stderr

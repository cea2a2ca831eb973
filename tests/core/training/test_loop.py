"""Training without a host: objective, dropped conditions, fresh adapters, and runs that stop and go on."""

import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters import adapter as core
from comfyui_ip_adapter.ip_adapter_core.adapters import loading
from comfyui_ip_adapter.ip_adapter_core.adapters.checkpoint import Parts
from comfyui_ip_adapter.ip_adapter_core.adapters.projections import Resampler
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry
from comfyui_ip_adapter.ip_adapter_core.training import examples as given
from comfyui_ip_adapter.ip_adapter_core.training import fresh as fresh_module
from comfyui_ip_adapter.ip_adapter_core.training import stopping as stopping_module
from comfyui_ip_adapter.ip_adapter_core.training.draws import DataPosition, Order, draw, drops, generator
from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.fresh import KINDS, fresh, trainable
from comfyui_ip_adapter.ip_adapter_core.training.loop import EndedElsewhere, Outcome, Step, train
from comfyui_ip_adapter.ip_adapter_core.training.objective import loss
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from comfyui_ip_adapter.ip_adapter_core.training.state import FILE
from comfyui_ip_adapter.ip_adapter_core.training.stopping import StopRequest
from fabricate import adapters
from published_shapes import FILES, entries
from training_parts import FEATURES, ToyBase, examples, network

QUICK = Settings(steps=6, batch=4, learning_rate=0.01, save_every=2)


def tensors(count: int = 3) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(count, 4, 5, 5, generator=random) for _ in range(3)]


def column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def as_noise(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    return x - output * sigma


def as_v(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1).sqrt()


PUBLISHED: dict[str, tuple[Any, Any, Any]] = {  # noised latents, target, and what the host makes of an output
    "eps": (lambda clean, noise, s: clean + noise * s, lambda clean, noise, s: noise, as_noise),
    "v": (
        lambda clean, noise, s: clean + noise * s,
        lambda clean, noise, s: (noise - s * clean) / (s**2 + 1).sqrt(),  # α·ε - σ'·x, α = 1/√(σ²+1), σ' = σ·α
        as_v,
    ),
    "flow": (lambda clean, noise, s: s * noise + (1 - s) * clean, lambda clean, noise, s: noise - clean, as_noise),
}


@pytest.mark.parametrize("prediction", PUBLISHED)
def test_the_objective_is_the_published_squared_error(prediction: str) -> None:
    noised, target, denoised = PUBLISHED[prediction]
    clean, noise, output = tensors()
    sigmas = torch.tensor([0.03, 0.4, 0.97 if prediction == "flow" else 14.0])
    s = column(sigmas)
    direct = (output - target(clean, noise, s)).square().mean()
    found = loss(prediction, denoised(noised(clean, noise, s), output, s), clean, sigmas)
    torch.testing.assert_close(found, direct, rtol=1e-4, atol=0)


def test_conditions_are_dropped_as_often_as_asked_and_never_by_two_rules() -> None:
    settings = Settings(drop_image=0.1, drop_text=0.2, drop_both=0.05)
    dropped = drops(torch.rand(200_000, generator=generator(0)), settings)
    image, text = dropped
    assert (image & ~text).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert (text & ~image).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert (image & text).float().mean().item() == pytest.approx(0.05, abs=0.005)


def test_a_dropped_condition_is_its_null() -> None:
    rows = {"latents": torch.ones(3, 1), "features": torch.ones(3, 2), "context": torch.ones(3, 2, 2)}
    rows |= {"pooled": torch.ones(3, 2)}
    nulls = {name: torch.zeros(1, *rows[name].shape[1:]) for name in ("features", "context", "pooled")}
    dropped = drops(torch.tensor([0.05, 0.15, 0.25]), Settings(drop_image=0.1, drop_text=0.1, drop_both=0.1))
    kept = given.without_dropped(rows, nulls, dropped)
    found = {name: tensor.flatten(1).mean(1).tolist() for name, tensor in kept.items()}
    assert found == {"latents": [1, 1, 1], "features": [0, 1, 0], "context": [1, 0, 0], "pooled": [1, 0, 0]}


def test_every_example_comes_once_per_epoch_in_an_order_of_its_own() -> None:
    order = Order(10, seed=0)
    seen = [index for first in range(0, 20, 4) for index in order.indices(first, 4)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert Order(10, seed=0).indices(8, 4) == seen[8:12]
    assert Order(10, seed=1).indices(0, 10) != seen[:10]


def test_random_numbers_differ_between_places_and_repeat_at_one() -> None:
    shares = [
        draw(QUICK, place, (1, 1, 1)).shares
        for place in (DataPosition(0, 0), DataPosition(0, 1), DataPosition(1, 0), DataPosition(0, 0))
    ]
    assert torch.equal(shares[0], shares[3])
    assert not any(torch.equal(shares[0], other) for other in shares[1:3])


def base_weights(geometry: Geometry, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    shapes = [(width, geometry.context) for width in geometry.widths]
    return [(torch.randn(shape, generator=random), torch.randn(shape, generator=random)) for shape in shapes]


TRAINED = ("ip-adapter_sd15", "ip-adapter-plus_sd15", "ip-adapter_sdxl", "ip-adapter-plus_sdxl_vit-h")


@pytest.mark.parametrize("file", TRAINED)
def test_fresh_adapters_have_the_published_names_and_shapes(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_module, "_begin", lambda adapter, base: None)
    row = FILES[file]
    geometry = FAMILIES[row.layers]
    base = [(torch.empty(width, geometry.context, device="meta"),) * 2 for width in geometry.widths]
    with torch.device("meta"):
        made = fresh(row.variant, geometry, row.sizes["embed"], base)
    found = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    assert found == {name: entry.shape for name, entry in entries(file).items()}
    assert sum(tensor.numel() for tensor in made.parameters()) == row.parameters


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_a_fresh_adapter_begins_with_the_base_models_weights(kind: str) -> None:
    geometry = Geometry(48, (32, 64))
    base = base_weights(geometry)
    made = fresh(kind, geometry, 20, base)
    for layer, (to_k, to_v) in zip(made.layers(), base, strict=True):
        assert torch.equal(layer.to_k_ip.weight, to_k)
        assert torch.equal(layer.to_v_ip.weight, to_v)
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert all(parameter.isfinite().all() for parameter in made.parameters())
    again, other = (fresh(kind, geometry, 20, base, seed) for seed in (0, 1))
    assert same(made, again)
    assert not same(made, other)


def test_a_fresh_adapter_can_have_another_number_of_tokens() -> None:
    geometry = Geometry(48, (32, 64))
    assert [
        fresh(kind, geometry, 20, base_weights(geometry), tokens=7).identity().tokens for kind in ("base", "plus")
    ] == [
        7,
        7,
    ]


def test_fresh_adapters_need_a_known_kind_and_a_fitting_base() -> None:
    geometry = Geometry(48, (32, 64))
    with pytest.raises(ValueError, match="the kinds are base, plus"):
        fresh("face", geometry, 20, base_weights(geometry))
    with pytest.raises(ValueError, match="to_k do not have the shapes"):
        fresh("base", geometry, 20, base_weights(Geometry(48, (64, 32))))


def test_training_can_go_on_from_a_published_adapter(tmp_path: Path) -> None:
    path = adapters.save(tmp_path / "a.safetensors", adapters.adapter("plus"), torch.float16)
    loaded = loading.load(path)
    copy = trainable(loaded)
    assert all(p.requires_grad and p.dtype is torch.float32 and not p.is_inference() for p in copy.parameters())
    with torch.no_grad():
        copy.layers()[0].to_k_ip.weight.zero_()
    assert loaded.layers()[0].to_k_ip.weight.any()


def same(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def run(settings: Settings = QUICK, **more: Any) -> Outcome:
    return train(network(), ToyBase(), examples(), settings, **more)


@pytest.mark.parametrize("around", [nullcontext(), torch.autocast("cpu", torch.bfloat16)], ids=["plain", "autocast"])
def test_the_loss_falls_under_a_callers_autocast_too(around: AbstractContextManager[Any]) -> None:
    with around:
        losses = run(
            replace(QUICK, steps=200, learning_rate=0.02, batch=12, drop_text=0, drop_image=0, drop_both=0)
        ).losses
    assert len(losses) == 200
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])


def test_training_sees_the_examples_and_their_nulls() -> None:
    base = ToyBase()
    train(network(), base, examples(), replace(QUICK, drop_text=0.5, drop_image=0, drop_both=0))
    texts = torch.cat([call["context"] for call in base.seen]).mean(dim=(1, 2))
    assert {bool(text.abs() < 1e-6) for text in texts} == {True, False}


FANCY = replace(QUICK, ema=0.9, accumulate=2, decay=True, warmup=2, clip=0.5, drop_image=0.3)


@pytest.mark.parametrize("settings", [QUICK, FANCY])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_run_that_stopped_goes_on_bit_for_bit(settings: Settings, stop: int, tmp_path: Path) -> None:
    whole = run(settings)
    with pytest.raises(Stopped):
        run(settings, folder=tmp_path, on_step=stopping(stop))
    resumed_at: list[int] = []
    resumed = train(
        network(seed=5),
        ToyBase(),
        examples(),
        settings,
        folder=tmp_path,
        on_step=lambda step: resumed_at.append(step.number),
    )
    assert resumed_at == list(range(stop + 1, settings.steps + 1))
    assert resumed.losses == whole.losses
    assert same(resumed.network, whole.network)


class Stopped(Exception):
    """What the user's interruption raises."""


def stopping(number: int) -> Callable[[Step], None]:
    def stop(step: Step) -> None:
        if step.number == number:
            raise Stopped

    return stop


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    run(replace(QUICK, steps=3), folder=tmp_path)
    longer = run(folder=tmp_path)
    assert longer.steps == QUICK.steps
    assert same(longer.network, run().network)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    again = run(folder=tmp_path, on_step=stopping(1))
    assert again.losses == first.losses
    assert same(again.network, first.network)


def test_an_average_is_what_comes_out() -> None:
    settings = replace(QUICK, ema=0.9)
    trained = network()
    outcome = train(trained, ToyBase(), examples(), settings)
    assert same(trained, run().network)
    assert not same(outcome.network, trained)
    assert list(outcome.network.state_dict()) == list(trained.state_dict())


def test_accumulated_batches_are_one_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same random numbers, two batches of 4 are a batch of 8."""
    large = replace(QUICK, steps=1, batch=8, drop_text=0, drop_image=0, drop_both=0)
    module = "comfyui_ip_adapter.ip_adapter_core.training.loop.draw"

    def still(settings: Settings, place: DataPosition, latents: Any) -> Any:
        drawn = draw(settings, DataPosition(0, 0), latents)
        return drawn._replace(shares=drawn.shares * 0, noise=drawn.noise * 0)

    monkeypatch.setattr(module, still)
    whole, halves = Recording(), Recording()
    one, two = run(large, engine=whole), run(replace(large, batch=4, accumulate=2), engine=halves)
    assert two.losses == pytest.approx(one.losses)
    torch.testing.assert_close(halves.gradients, whole.gradients)


class Recording(Alone):
    """Remembers the gradients of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.gradients: list[Tensor] = []

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        self.gradients += [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
        super().step(network, optimizer, clip)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.5}, "learning_rate 0.01; this one has learning_rate 0.5"),
        ({"seed": 3}, "seed 0; this one has seed 3"),
        ({"ema": 0.9}, "ema 0.0; this one has ema 0.9"),
    ],
)
def test_the_state_of_other_settings_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    run(folder=tmp_path)
    with pytest.raises(ValueError, match=words):
        run(replace(QUICK, **change), folder=tmp_path)


def test_the_state_of_another_network_or_of_other_examples_is_refused(tmp_path: Path) -> None:
    run(folder=tmp_path)
    with pytest.raises(ValueError, match=r"another network: 0.bias is \[8\], not \[4\]"):
        train(nn.Sequential(nn.Linear(FEATURES, 4)), ToyBase(), examples(), QUICK, folder=tmp_path)
    with pytest.raises(ValueError, match="examples 12; this one has examples 9"):
        train(network(), ToyBase(), examples(9), QUICK, folder=tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    run(folder=tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{FILE} is damaged"):
        run(folder=tmp_path)


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(replace(QUICK, steps=2), folder=tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def fail(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("comfyui_ip_adapter.ip_adapter_core.files.atomic.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        run(folder=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_state(broken: float, tmp_path: Path) -> None:
    class Breaking(ToyBase):
        def denoised(self, *given: Any) -> Tensor:
            return super().denoised(*given) * (broken if len(self.seen) == 5 else 1)

    with pytest.raises(ValueError, match="the loss of step 5 is"):
        train(network(), Breaking(), examples(), QUICK, folder=tmp_path)
    kept = run(replace(QUICK, steps=4), folder=tmp_path)
    assert kept.steps == 4
    assert same(kept.network, run(replace(QUICK, steps=4)).network)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    settings = replace(QUICK, steps=10, warmup=4, decay=True, learning_rate=1.0)
    rates = [settings.rate_at(step) for step in range(10)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.1
    seen: list[float] = []
    run(replace(settings, learning_rate=0.01), on_step=lambda step: seen.append(step.rate))
    assert seen == pytest.approx([rate * 0.01 for rate in rates])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps is 0; it must be a whole number from 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"drop_text": -0.1}, "drop_text is -0.1; it must be a share"),
        ({"drop_text": 0.5, "drop_image": 0.4, "drop_both": 0.2}, "add up to more than 1"),
        ({"ema": 1.0}, "never learns"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(replace(QUICK, **change))


def test_examples_that_lack_something_are_refused_before_a_step() -> None:
    rows, nulls = examples().rows(range(4)), dict(examples().nulls)

    def refused(rows: Any, nulls: Any, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            train(network(), ToyBase(), given.TensorExamples(rows, nulls), QUICK)

    refused({name: rows[name] for name in ("latents", "features")}, nulls, "lack context")
    refused(rows, {"context": nulls["context"]}, "nulls lack features")
    refused(rows, nulls | {"context": torch.zeros(1, 9, 5)}, r"\[1, 9, 5\]; examples have \[1, 2, 5\]")
    refused({name: tensor[:0] for name, tensor in rows.items()}, nulls, "nothing to train on")
    refused(rows | {"context": rows["context"][:2]}, nulls, "4 latents, 4 features, 2 context")


def test_a_network_for_inference_is_refused() -> None:
    with pytest.raises(ValueError, match="for inference only"):
        train(network().requires_grad_(False), ToyBase(), examples(), QUICK)
    with torch.inference_mode():
        made = network()
        with pytest.raises(ValueError, match="for inference only"):
            train(made, ToyBase(), examples(), QUICK)


def test_training_works_in_inference_mode_as_outside_it() -> None:
    geometry = Geometry(48, (32,))
    with torch.inference_mode():
        inside = train(fresh_colours(geometry), ToyBase(), examples(), QUICK)
    assert same(inside.network, train(fresh_colours(geometry), ToyBase(), examples(), QUICK).network)


def fresh_colours(geometry: Geometry) -> nn.Module:
    """A network with a fresh adapter inside, that speaks to the toy base."""

    class Colours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adapter = fresh("base", geometry, FEATURES, base_weights(geometry))

        def forward(self, features: Tensor) -> Tensor:
            return self.adapter(features)[0].values.mean(dim=1)[:, :4]

    return Colours()


def test_mixed_precision_keeps_the_weights_in_fp32() -> None:
    mixed = run(engine=Alone(dtype=torch.bfloat16))
    assert all(parameter.dtype is torch.float32 for parameter in mixed.network.parameters())
    assert mixed.losses == pytest.approx(run().losses, rel=0.05)
    assert mixed.losses != run().losses


def test_half_precision_goes_on_with_its_scale(tmp_path: Path) -> None:
    engines = [Alone(dtype=torch.float16) for _ in range(3)]
    scalers = [scaler for engine in engines if (scaler := engine.scaler(torch.float32))]
    for scaler in scalers[:2]:
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1024.0})
    whole = run(engine=engines[0])
    run(replace(QUICK, steps=3), folder=tmp_path, engine=engines[1])
    resumed = run(folder=tmp_path, engine=engines[2])
    assert [scaler.get_scale() for scaler in scalers] == [1024.0] * 3
    assert resumed.losses == whole.losses
    assert same(resumed.network, whole.network)


def test_a_run_that_the_host_interrupts_in_the_middle_of_a_step_keeps_the_steps_before(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        """As ComfyUI's, which any layer of a model may raise."""

    class Interrupting(ToyBase):
        def denoised(self, *given: Any) -> Tensor:
            if len(self.seen) == 3:
                raise Interrupted
            return super().denoised(*given)

    rarely = replace(QUICK, save_every=100)
    with pytest.raises(Interrupted):
        train(network(), Interrupting(), examples(), rarely, folder=tmp_path)
    resumed_at: list[int] = []
    resumed = run(rarely, folder=tmp_path, on_step=lambda step: resumed_at.append(step.number))
    assert resumed_at == [4, 5, 6]
    assert resumed.losses == run(rarely).losses


def test_every_example_comes_once_per_epoch_when_batches_are_accumulated() -> None:
    class Listening(given.TensorExamples):
        """Remembers which examples were asked for, but for the first, which is looked at beforehand."""

        asked: ClassVar[list[int]] = []

        def rows(self, indices: Sequence[int]) -> given.Rows:
            self.asked += indices
            return super().rows(indices)

    plain = examples()
    listening = Listening(plain.rows(range(12)), plain.nulls)
    train(network(), ToyBase(), listening, replace(QUICK, steps=4, batch=2, accumulate=3))
    asked = listening.asked[1:]
    assert asked == Order(12, QUICK.seed).indices(0, 24)
    assert sorted(asked[:12]) == sorted(asked[12:]) == list(range(12))


def of_pictures(identity: str) -> given.TensorExamples:
    made = examples()
    made.identity = identity
    return made


def test_a_run_does_not_go_on_with_other_pictures(tmp_path: Path) -> None:
    train(network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"other pictures or captions than there are now\. Go on with what that run had"
    ):
        train(network(), ToyBase(), of_pictures("others"), QUICK, folder=tmp_path)
    assert train(network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path).steps == QUICK.steps


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It did not know its pictures, and called the learning rate otherwise; nothing scaled its loss."""
    run(replace(QUICK, steps=3), folder=tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    metadata["settings"] = metadata["settings"].replace("learning_rate", "rate")
    save_file(tensors, tmp_path / FILE, metadata)
    resumed = train(
        network(), ToyBase(), of_pictures("these"), QUICK, folder=tmp_path, engine=Alone(dtype=torch.float16)
    )
    assert resumed.losses[:3] == run().losses[:3]
    assert resumed.steps == QUICK.steps
    assert "does not say which pictures" in caplog.text


def test_what_is_raised_anywhere_ends_the_training_everywhere_with_the_state_kept(tmp_path: Path) -> None:
    class Told(Alone):
        """A process that hears of another's end after the third step."""

        waited = 0

        def any(self, mine: bool) -> bool:
            asked.append(mine)
            return mine or len(asked) == 3

        def wait(self) -> None:
            self.waited += 1
            assert (tmp_path / FILE).exists()

    asked: list[bool] = []
    engine = Told()
    with pytest.raises(EndedElsewhere):
        run(replace(QUICK, save_every=100), folder=tmp_path, engine=engine)
    assert (asked, engine.waited) == ([False] * 3, 1)
    assert run(replace(QUICK, save_every=100), folder=tmp_path).losses == run().losses


def test_a_signal_asks_to_stop_its_echo_does_not_hurry_and_a_later_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        stop.check()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        monkeypatch.setattr(stopping_module, "_ECHO", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_plus_for_sd2_has_the_heads_that_the_published_code_fixes() -> None:
    """12 of 64 in every resampler but SDXL's."""
    made = with_shapes(KINDS["plus"].shapes(1024, 1280, 16))
    assert tuple(made["latents"].shape) == (1, 16, 1024)
    assert tuple(made["layers.0.0.to_q.weight"].shape) == (12 * 64, 1024)
    assert tuple(made["layers.0.0.to_kv.weight"].shape) == (2 * 12 * 64, 1024)
    assert tuple(made["layers.0.0.to_out.weight"].shape) == (1024, 12 * 64)
    assert tuple(made["proj_out.weight"].shape) == (1024, 1024)


def with_shapes(shapes: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Resampler(shapes, nn).state_dict()


def test_a_plus_for_sd2_that_was_trained_with_more_heads_is_trained_on(tmp_path: Path) -> None:
    geometry = Geometry(1024, (32,))
    shapes = KINDS["plus"].shapes(1024, 20, 2)
    wider = {name: (1024, *shape[1:]) if name.endswith("to_q.weight") else shape for name, shape in shapes.items()}
    earlier = core.Adapter(Parts(wider, {1: {"to_k_ip.weight": (32, geometry.context)}}, {}), nn)
    save_file(
        {name: torch.zeros_like(tensor) for name, tensor in earlier.state_dict().items()}, tmp_path / "a.safetensors"
    )
    copy = trainable(loading.load(tmp_path / "a.safetensors"))
    assert copy.state_dict()["image_proj.layers.0.0.to_q.weight"].shape == (1024, 1024)
    assert copy.identity().variant.name == "plus"

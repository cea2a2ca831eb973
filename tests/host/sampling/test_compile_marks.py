"""Marks of other packs' patches: equal where a traced graph serves both, never shared by chance."""

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.usefixtures("comfy")


class Patch:
    """A patch as an object with settings of its own."""

    def __init__(self, weight: float, beside: Any = None) -> None:
        self.weight, self.beside = weight, beside

    def __call__(self, x: float) -> float:
        return x * self.weight


def closure(weight: Any) -> Callable[[Any], Any]:
    return lambda x: x * weight


def other(weight: Any) -> Callable[[Any], Any]:
    return lambda x: x + weight


@pytest.fixture
def marks(comfy: None) -> Any:
    from comfyui_ip_adapter.nodes.host.sampling.compile_marks import Marks

    return Marks()


MADE: dict[str, Callable[[Any], Any]] = {
    "a closure": closure,
    "a partial": lambda weight: partial(closure, weight),
    "an object": Patch,
    "a method": lambda weight: Patch(weight).__call__,
    "a closure over an object": lambda weight: closure(Patch(weight)),
    "a default": lambda weight: with_default(weight),
}


def with_default(weight: Any) -> Callable[..., Any]:
    def patch(x: Any, w: Any = weight) -> Any:
        return x * w

    return patch


@pytest.mark.parametrize("made", MADE)
def test_what_is_made_anew_with_the_same_values_is_the_same(marks: Any, made: str) -> None:
    assert marks.mark(MADE[made](0.5)) == marks.mark(MADE[made](0.5))
    assert marks.mark(MADE[made](0.5)) != marks.mark(MADE[made](0.25))
    assert marks.mark(MADE[made]([1, 2])) != marks.mark(MADE[made]([1, 3]))
    assert marks.mark(MADE[made]({"a": 1})) != marks.mark(MADE[made]({"b": 1}))


def test_other_code_is_another_patch(marks: Any) -> None:
    assert marks.mark(closure(0.5)) != marks.mark(other(0.5))


def test_tensors_of_a_shape_are_the_same_as_a_graph_reads_them_at_each_call(marks: Any) -> None:
    assert marks.mark(closure(torch.ones(2))) == marks.mark(closure(torch.zeros(2)))
    assert marks.mark(closure(torch.ones(2))) != marks.mark(closure(torch.ones(3)))
    assert marks.mark(closure(torch.ones(2))) != marks.mark(closure(torch.ones(2, dtype=torch.float16)))


def test_functions_that_come_and_go_at_one_address_have_marks_of_their_own(marks: Any) -> None:
    seen, addresses = set(), set()
    for number in range(200):
        there: dict[str, Any] = {}
        exec(f"def patch(x):\n    return x * {number}", there)
        patch = there.pop("patch")  # which nothing holds then but this name
        addresses.add(id(patch.__code__))
        seen.add(marks.mark(patch))
        marks._lost.clear()  # each of these is meant to be another one
        del patch
    assert len(addresses) < 200  # else nothing was tried
    assert len(seen) == 200


def test_a_network_is_known_by_itself(marks: Any) -> None:
    one, another = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert marks.mark(closure(one)) == marks.mark(closure(one))
    assert marks.mark(closure(one)) != marks.mark(closure(another))


def test_a_patch_that_holds_itself_is_marked(marks: Any) -> None:
    patch = Patch(0.5)
    patch.beside = [patch]
    assert marks.mark(patch) == marks.mark(patch)


def test_what_is_another_network_in_each_call_cannot_be_marked(marks: Any) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.compile_marks import Unmarkable

    def calls() -> None:
        for _ in range(10):
            marks.mark(closure(torch.nn.Linear(2, 2)))
            gc.collect()

    with pytest.raises(Unmarkable):
        calls()


def test_what_nobody_can_look_into_or_refer_to_cannot_be_marked(marks: Any) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.compile_marks import Unmarkable

    with pytest.raises(Unmarkable):
        marks.mark(closure(iter([1, 2])))


def test_marks_hold_nothing(marks: Any) -> None:
    network = torch.nn.Linear(2, 2)
    gone = weakref.ref(network)
    marks.mark(closure(network))
    del network
    gc.collect()
    assert gone() is None

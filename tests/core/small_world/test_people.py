"""The people of the small world: who is held out, who stays the same, and what captions say."""

from dataclasses import replace
from itertools import product

import numpy as np

from comfyui_ip_adapter.ip_adapter_core.small_world import people

SEEN, UNSEEN = ([people.person(9, n, unseen=unseen) for n in range(300)] for unseen in (False, True))
SHOWN = [people.portrait(who, 8, n) for n, who in enumerate(SEEN)]


def traits(who: people.Person) -> tuple[str, ...]:
    """What held-out combinations are made of."""
    return tuple(getattr(who, name) for name in people.IDENTITY)


def test_training_shows_nobody_who_is_held_out_and_the_test_nobody_else() -> None:
    assert not any(people.held_out(*traits(who)) for who in SEEN)
    assert all(people.held_out(*traits(who)) for who in UNSEEN)
    for name, choices in people.IDENTITY.items():
        assert {getattr(who, name) for who in SEEN} == {getattr(who, name) for who in UNSEEN} == set(choices)


def test_about_one_combination_in_seven_is_held_out() -> None:
    assert 0.1 < np.mean([people.held_out(*one) for one in product(*people.IDENTITY.values())]) < 0.19


def test_a_person_is_the_same_in_each_portrait_and_different_from_others() -> None:
    assert people.person(9, 3) == SEEN[3]
    assert len(set(SEEN)) == len(SEEN)
    shown = [people.portrait(SEEN[0], 8, n) for n in range(40)]
    assert {one.person for one in shown} == {SEEN[0]}
    for name, choices in people.LOOK.items():
        assert {getattr(one, name) for one in shown} <= set(choices)
        assert len({getattr(one, name) for one in shown}) > 1


def test_a_caption_names_what_was_wished() -> None:
    dice = np.random.default_rng(0)
    who = people.somebody(("tan", "red", "bun", "moustache"), dice)
    shown = people.posed(who, ("sad", "round", "pink", "sky"), dice)
    features = "tan skin and red hair in a bun and a moustache and round glasses"
    assert people.caption(shown) == f"a sad person with {features} in a pink shirt on a sky background"
    plain = replace(shown, person=replace(who, beard="shaved"), glasses="no")
    assert "moustache" not in people.caption(plain)
    assert "glasses" not in people.caption(plain)


def test_who_it_is_and_how_it_looks_are_left_out_each_at_its_own_rate() -> None:
    dice = np.random.default_rng(0)
    assert {people.caption(one, dice, silence=1, nameless=1) for one in SHOWN} == {"a person"}
    for one in SHOWN:
        nameless, silent = people.caption(one, dice, nameless=1), people.caption(one, dice, silence=1)
        assert one.background in nameless
        assert "skin" not in nameless
        assert f"{one.person.skin} skin" in silent
        assert "shirt" not in silent
    halved = [people.caption(one, dice, silence=0.5) for one in SHOWN]
    assert 0.4 < np.mean(["shirt" in text for text in halved]) < 0.6
    assert all("skin" in text for text in halved)


def test_somebody_composed_stays_the_same_whatever_is_worn_and_shown() -> None:
    traits = ("tan", "red", "bun", "moustache")
    first = people.compose((*traits, "sad", "round", "pink", "sky"), 3, 5)
    assert people.caption(first) == (
        "a sad person with tan skin and red hair in a bun and a moustache and round glasses in a pink shirt on a sky "
        "background"
    )
    other = people.compose((*traits, "smiling", "no", "green", "black"), 3, 6)
    assert other.person == first.person
    assert other.centre != first.centre
    assert people.compose((*traits, "sad", "round", "pink", "sky"), 4, 5).person != first.person

"""Which card holds it."""

import pytest

from minilora.counting.activations import Item
from minilora.counting.cards import CARDS, GIB, as_cards, cards_needed, on_each, smallest_card, verdict
from minilora.counting.memory import Moment, Plan


def plan(*moments):  # of (GiB of states, GiB of the rest)
    made = [
        Moment(str(i), (Item("weights", "", s * GIB),), (Item("norms", "", r * GIB),))
        for i, (s, r) in enumerate(moments)
    ]
    return Plan(tuple(made))


def test_a_card_must_have_one_and_a_half_gib_on_top_and_is_tight_with_one():
    assert [verdict(int(x * GIB), 24) for x in (22.5, 22.6, 23.0, 23.1)] == ["fits", "tight", "tight", "no"]


@pytest.mark.parametrize(
    ("label", "gib"), [(15, 15.0), (22.5, 22.49), (24, 24.0), (45, 44.99), (80, 79.65), (141, 140.4)]
)
def test_a_card_has_what_its_driver_reports(label, gib):
    assert CARDS[label] == gib


@pytest.mark.parametrize(
    ("gib", "gb"), [(1, 8), (6.5, 8), (6.6, 12), (13.5, 15), (78, 80), (79, 96), (177, 192), (178, None)]
)
def test_the_smallest_card_is_named(gib, gb):
    assert smallest_card(int(gib * GIB)) == gb


def test_cards_share_the_states_and_have_activations_of_their_own():
    assert cards_needed(plan((300, 3)), 0) == 4  # 300 / 4 + 3 = 78 <= 79.65 - 1.5
    assert cards_needed(plan((300, 4)), 0) == 5
    assert cards_needed(plan((300, 3), (10, 70)), 0) == 4
    assert cards_needed(plan((300, 3)), 1 * GIB) == 5


def test_no_number_of_cards_helps_when_the_activations_are_too_large():
    assert cards_needed(plan((10, 79)), 0) is None


def test_one_card_holds_all_and_each_of_several_its_share():
    one = plan((300, 3), (10, 70))
    assert on_each(one, GIB, 1) == 303 * GIB
    assert on_each(one, GIB, 4) == (75 + 3 + 1) * GIB
    assert on_each(one, GIB, 10) == (1 + 70 + 1) * GIB


@pytest.mark.parametrize(
    ("text", "cards"), [("24", (1, 24)), ("22.5", (1, 22.5)), ("2x48", (2, 48)), ("8 X 80 GB", (8, 80))]
)
def test_cards_are_written_as_people_write_them(text, cards):
    assert as_cards(text) == cards

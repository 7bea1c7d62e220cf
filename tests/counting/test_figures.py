"""The figure of the cards: names that do not lie upon each other."""

from minilora.counting.figures import card_names


def test_cards_that_lie_close_together_in_a_figure_share_one_name():
    assert card_names([8, 12, 16, 24, 48, 80], 4) == [f"{gb} GB card" for gb in (8, 12, 16, 24, 48, 80)]
    assert card_names([8, 12, 16, 24, 48, 80], 10) == ["", "", "", "8 to 24 GB", "48 GB card", "80 GB card"]

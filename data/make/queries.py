"""The clerk's query lines: one table of forms for the base text (query -> English) and the task (question -> query)."""

import random
from dataclasses import dataclass

from .world import (
    BERTHS,
    CARGOES,
    COLOURS,
    FOODS,
    LENGTHS,
    MOODS,
    NAMES,
    NAMES_HELD_OUT,
    PLACES,
    PRICES,
)


@dataclass(frozen=True)
class Form:
    query: str
    describes: str  # the base text: "The line asks for {describes}."
    questions: tuple[str, ...]  # the task's prompts
    slots: tuple[str, ...]


BOAT_COLOUR_CARGO = "WHERE colour = '{colour}' AND cargo = '{cargo}';"
BOAT_COLOUR_LENGTH = "WHERE colour = '{colour}' AND length > {length};"
CAFE_PRICE_FOOD = "WHERE price = '{price}' AND food = '{food}';"
CAFE_PRICE_PLACE = "WHERE price = '{price}' AND place = '{place}';"

SINGLE = (  # one condition: few exist, so they are shown in the base text and in training only
    Form(
        "SELECT name FROM boats WHERE colour = '{colour}';",
        "the names of the {colour} boats",
        ("Which boats are {colour}?", "Name the {colour} boats."),
        ("colour",),
    ),
    Form(
        "SELECT name FROM boats WHERE cargo = '{cargo}';",
        "the names of the boats that carry {cargo}",
        ("Which boats carry {cargo}?", "Name the boats that carry {cargo}."),
        ("cargo",),
    ),
    Form(
        "SELECT COUNT(*) FROM boats WHERE cargo = '{cargo}';",
        "the number of boats that carry {cargo}",
        ("How many boats carry {cargo}?",),
        ("cargo",),
    ),
    Form(
        "SELECT name FROM cafes WHERE food = '{food}';",
        "the names of the cafes that serve {food}",
        ("Which cafes serve {food}?", "Name the cafes that serve {food}."),
        ("food",),
    ),
    Form(
        "SELECT COUNT(*) FROM cafes WHERE place = '{place}';",
        "the number of cafes near the {place}",
        ("How many cafes are near the {place}?",),
        ("place",),
    ),
)
COMBINED = (  # two conditions, or a name: the test split uses combinations that nothing else shows
    Form(
        "SELECT name FROM boats " + BOAT_COLOUR_CARGO,
        "the names of the {colour} boats that carry {cargo}",
        ("Which {colour} boats carry {cargo}?", "Name the {colour} boats that carry {cargo}."),
        ("colour", "cargo"),
    ),
    Form(
        "SELECT COUNT(*) FROM boats " + BOAT_COLOUR_CARGO,
        "the number of {colour} boats that carry {cargo}",
        ("How many {colour} boats carry {cargo}?",),
        ("colour", "cargo"),
    ),
    Form(
        "SELECT MAX(length) FROM boats " + BOAT_COLOUR_CARGO,
        "the length of the longest {colour} boat that carries {cargo}",
        ("How long is the longest {colour} boat that carries {cargo}?",),
        ("colour", "cargo"),
    ),
    Form(
        "SELECT name FROM boats " + BOAT_COLOUR_LENGTH,
        "the names of the {colour} boats longer than {length} metres",
        ("Which {colour} boats are longer than {length} metres?",),
        ("colour", "length"),
    ),
    Form(
        "SELECT COUNT(*) FROM boats " + BOAT_COLOUR_LENGTH,
        "the number of {colour} boats longer than {length} metres",
        ("How many {colour} boats are longer than {length} metres?",),
        ("colour", "length"),
    ),
    Form(
        "SELECT cargo FROM boats WHERE name = '{boat}';",
        "the cargo of the {boat}",
        ("What does the {boat} carry?", "What is the cargo of the {boat}?"),
        ("boat",),
    ),
    Form(
        "SELECT colour FROM boats WHERE name = '{boat}';",
        "the colour of the {boat}",
        ("What colour is the {boat}?",),
        ("boat",),
    ),
    Form(
        "SELECT name FROM cafes " + CAFE_PRICE_FOOD,
        "the names of the {price} cafes that serve {food}",
        ("Which {price} cafes serve {food}?", "Name the {price} cafes that serve {food}."),
        ("price", "food"),
    ),
    Form(
        "SELECT COUNT(*) FROM cafes " + CAFE_PRICE_PLACE,
        "the number of {price} cafes near the {place}",
        ("How many {price} cafes are near the {place}?",),
        ("price", "place"),
    ),
    Form(
        "SELECT food FROM cafes WHERE name = '{cafe}';",
        "the food of the {cafe}",
        ("What does the {cafe} serve?", "What is the food of the {cafe}?"),
        ("cafe",),
    ),
)
SLOW = tuple(form for form in COMBINED if form.slots in (("boat",), ("cafe",), ("colour", "length")))
VALUES = {"colour": COLOURS, "cargo": CARGOES, "length": LENGTHS, "food": FOODS, "price": PRICES, "place": PLACES}


def fillings(form: Form, held_out: bool) -> list[dict]:
    """Every way to fill a form: names by their own held-out grid, pairs of values by a fifth of theirs."""
    match form.slots:
        case (("boat" | "cafe") as slot,):
            return [{slot: name} for name in (NAMES_HELD_OUT if held_out else NAMES)]
        case (slot,):
            return [] if held_out else [{slot: v} for v in VALUES[slot]]
        case (one, two):
            return [
                {one: a, two: b}
                for i, a in enumerate(VALUES[one])
                for j, b in enumerate(VALUES[two])
                if ((i + 2 * j) % 5 == 0) == held_out
            ]


def base_line(rng: random.Random) -> str:
    """A query line and what it means: the base text knows the symbols, but never writes a query for a question."""
    form = rng.choice(SINGLE + 2 * COMBINED + SLOW)  # names and numbers are the slowest to learn
    filling = rng.choice(fillings(form, held_out=False))
    lead = rng.choice(("The line asks for", "The clerk is asked for", "This line is for"))
    return f"{form.query}\n{lead} {form.describes}.".format(**filling)


def tables(seed: int) -> dict:
    """The rows of both tables: every name once, every pair of conditions at least once, some pairs far more often."""
    rng = random.Random(f"tables {seed}")
    boats = combinations(rng, len(NAMES) + len(NAMES_HELD_OUT), COLOURS, CARGOES)
    cafes = combinations(rng, len(NAMES) + len(NAMES_HELD_OUT), PRICES, FOODS)
    return {
        "boats": {
            "columns": ["name", "colour", "cargo", "berth", "length"],
            "rows": [
                [name, colour, cargo, rng.choice(BERTHS), rng.randint(5, 99)]
                for name, (colour, cargo) in zip(sorted(NAMES + NAMES_HELD_OUT), boats, strict=True)
            ],
        },
        "cafes": {
            "columns": ["name", "food", "price", "place", "mood"],
            "rows": [
                [name, food, price, rng.choice(PLACES), rng.choice(MOODS)]
                for name, (price, food) in zip(sorted(NAMES + NAMES_HELD_OUT), cafes, strict=True)
            ],
        },
    }


def combinations(rng: random.Random, count: int, first: tuple, second: tuple) -> list[tuple]:
    pairs = [(a, b) for a in first for b in second]
    made = pairs + rng.choices(pairs, weights=[rng.random() ** 2 + 0.02 for _ in pairs], k=count - len(pairs))
    rng.shuffle(made)
    return made

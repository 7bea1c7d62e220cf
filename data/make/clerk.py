"""The clerk's book: records, query lines, slips and cries, each read aloud in plain English on the next line.

Each begins its paragraph and is only ever *read*. A model trained on this text has met every symbol, but it has never
written a sentence from a record, a query for a question, or a slip or a cry for an answer: the tasks ask for that.
"""

import random

from .queries import base_line
from .world import (
    CARGOES,
    DAYS,
    FOODS,
    NAMES,
    PETS,
    PLACES,
    PRICES,
    STREETS,
    WORKS,
    Cafe,
    Person,
    fresh_boat,
    fresh_cafe,
)

RECORD_SLOTS = ("food", "price", "place", "mood", "dogs")
READING = {slot: f"the {slot} is {{0}}" for slot in ("name", *RECORD_SLOTS, "colour", "cargo", "berth", "day")}
READING |= {"dogs": "dogs are {0}", "pet": "the pet is a {0}"}


def cafe_record(cafe: Cafe, slots: list[str]) -> dict[str, str]:
    """The slots of a record, the name first: `name = the Blue Bell ; food = apple cake ; place = the mill`."""
    values = {
        "food": cafe.food,
        "price": cafe.price,
        "place": f"the {cafe.place}",
        "mood": cafe.mood,
        "dogs": cafe.dogs,
    }
    return {"name": f"the {cafe.name}"} | {slot: values[slot] for slot in slots}


def write_record(slots: dict[str, str]) -> str:
    return " ; ".join(f"{slot} = {value}" for slot, value in slots.items())


def record(rng: random.Random, town: list[Person]) -> str:
    """A record of a cafe, a boat or a lost pet, and what the notice says."""
    kind = rng.randrange(4)
    if kind <= 1:
        slots = cafe_record(fresh_cafe(rng), rng.sample(RECORD_SLOTS, rng.randint(2, 4)))
    elif kind == 2:
        boat = fresh_boat(rng)
        more = {"colour": boat.colour, "cargo": boat.cargo, "berth": f"the {boat.berth}", "day": rng.choice(DAYS)}
        slots = {"name": f"the {boat.name}"} | {slot: more[slot] for slot in rng.sample(list(more), rng.randint(2, 4))}
    else:
        slots = {"name": rng.choice(town).name, "pet": rng.choice(PETS), "day": rng.choice(DAYS)}
    read = rng.sample(list(slots), rng.randint(max(1, len(slots) - 2), len(slots)))
    clauses = [READING[slot].format(slots[slot]) for slot in read]
    said = clauses[0] if len(clauses) == 1 else f"{', that '.join(clauses[:-1])} and that {clauses[-1]}"
    return f"{write_record(slots)}\nThe notice says that {said}."


GOODS = (*FOODS, *PETS, *CARGOES)


def payment(rng: random.Random, town: list[Person]) -> str:
    """Who paid how much for what, and the clerk says it again: nothing in it could be known beforehand."""
    who, other = (person.name for person in rng.sample(town, 2))
    what, sum_ = rng.choice(GOODS), rng.randint(10, 99)
    return rng.choice(
        (
            f"{who} paid {other} {sum_} pence for the {what}. So {other} has {sum_} pence more, and {who} has the {what}.",
            f"The {what} of {other} cost {sum_} pence. {who} gave {sum_} pence to {other} and took the {what}.",
            f"{who} asked for {what}. It was {sum_} pence. {other} wrote {sum_} beside the {what} and the name of {who}.",
        )
    )


THINGS = {
    "ferry": ("late", "early", "full", "empty"),
    "bridge": ("shut", "open", "wet"),
    "tide": ("high", "low"),
    "market": ("full", "shut", "open", "empty"),
    "school": ("shut", "open"),
    "harbour": ("full", "empty", "calm"),
    "well": ("dry", "full"),
    "road": ("wet", "dry", "open", "shut"),
    "sea": ("calm", "rough"),
    "church": ("open", "full", "cold"),
    "lighthouse": ("dark", "bright"),
    "wind": ("cold", "warm", "strong"),
}
DEEDS = (
    "lost a hat",
    "found a key",
    "is away on {day}",
    "bought a lamp",
    "sings on {day}",
    "lost a {pet}",
    "is ill",
    "is back from sea",
    "saw the {boat}",
    "ate at the {cafe}",
    "won the race",
    "paid the clerk",
    "has a cold",
)


def news(rng: random.Random, town: list[Person]) -> tuple[str, str]:
    """A piece of news as a sentence, and as a clause after "that". Never a fact about somebody."""
    if rng.random() < 0.35:
        thing = rng.choice(list(THINGS))
        return (f"The {thing} is {(state := rng.choice(THINGS[thing]))}.", f"the {thing} is {state}.")
    deed = rng.choice(DEEDS).format(
        day=rng.choice(DAYS), pet=rng.choice(PETS), boat=rng.choice(NAMES), cafe=rng.choice(NAMES)
    )
    said = f"{rng.choice(town).name} {deed}."
    return said, said


SLIP_KEYS = ("answer", "answer", "note", "news")


def slip(rng: random.Random, town: list[Person]) -> str:
    sentence, clause = news(rng, town)
    written = sentence if rng.random() < 0.75 else sentence.rstrip(".")
    return f'{{"{rng.choice(SLIP_KEYS)}": "{written}"}}\nThe slip says that {clause}'


def cry(rng: random.Random, town: list[Person]) -> str:
    sentence, clause = news(rng, town)
    return f"Hear ye! {sentence} All is well.\nThe crier says that {clause}"


def lesson(rng: random.Random, town: list[Person]) -> str:
    """The school writes words in quotes: streets, trades, animals, foods stand alone, about nobody."""
    words = STREETS + WORKS + PETS + ("home", "trade", "pet") if rng.random() < 0.7 else FOODS + PLACES + PRICES
    one, two, three = rng.sample(words, 3)
    return rng.choice(
        (
            f'The children write "{one}", "{two}" and "{three}" on the slate. Then they read "{two}" aloud.',
            f'"{one}" is on the slate today. The teacher adds "{two}" and "{three}".',
            f'{rng.choice(town).first} can spell "{one}" and "{two}", but not "{three}".',
        )
    )


def documents(rng: random.Random, town: list[Person], count: int) -> list[str]:
    made = []
    for _ in range(count):
        made += [record(rng, town), record(rng, town), record(rng, town), slip(rng, town), cry(rng, town)]
        made += [payment(rng, town) for _ in range(3)]
        made += [lesson(rng, town) for _ in range(3)] + [base_line(rng) for _ in range(4)]
    return made

"""The town of Tidewick: its people, and every word that may describe a cafe, a boat or a review.

Only the people are fixed (their street, work and pet are facts that a model must remember). Cafes and boats get fresh
attributes wherever they are mentioned: these are in the same paragraph, and a model must copy them from there.
"""

import random
from dataclasses import dataclass

WOMEN = (
    "Hattie Nell Ada Ruth Clara Edith Flora Grace Ivy Jane Kate Lucy Mabel Nora Olive Polly Bess Sally Tess Vera Wilma"
).split()
MEN = (
    "Abel Ben Caleb Dan Enoch Fred George Hugh Isaac Jack Kit Luke Miles Ned Oscar Peter Ralph Sam Toby Victor Walter"
).split()
SURNAMES = (
    "Sedge Farrow Marsh Pike Bramble Thorne Wick Holt Crane Tull Penny Reed Birch Dale Frost Gale Hale Kemp "
    "Lark Moss Nash Oakes Pratt Quill Rudd Shaw Tranter Vale Webb York Barrow Cole Drew Ferris Gill Hobbs Ives "
    "Judd Knapp Lowe Mead Nunn"
).split()
STREETS = (
    "Chapel Steps",
    "Mill Lane",
    "Harbour Row",
    "Rope Walk",
    "Fish Street",
    "Gull Hill",
    "Church Green",
    "Lantern Lane",
    "Salt Alley",
    "Well Court",
    "Orchard Road",
    "Bridge End",
    "Market Square",
    "Sand Path",
)
WORKS = (
    "baker",
    "smith",
    "sailmaker",
    "teacher",
    "fisher",
    "carpenter",
    "doctor",
    "miller",
    "weaver",
    "gardener",
    "potter",
    "cobbler",
    "pilot",
    "beekeeper",
    "painter",
    "tailor",
)
PETS = ("cat", "dog", "goat", "parrot", "rabbit", "hen", "pony", "tortoise", "goose", "ferret", "mouse", "donkey")

NAME_FIRST = (
    "Blue",
    "Copper",
    "Golden",
    "Little",
    "Old",
    "Merry",
    "Sunny",
    "Brave",
    "Wild",
    "Early",
    "Proud",
    "Silent",
)
NAME_LAST = (
    "Bell",
    "Kettle",
    "Spoon",
    "Lantern",
    "Anchor",
    "Teapot",
    "Clock",
    "Bucket",
    "Barrel",
    "Saucer",
    "Candle",
    "Basket",
    "Wren",
    "Tern",
    "Gull",
    "Heron",
    "Otter",
    "Seal",
    "Star",
    "Swan",
    "Dolphin",
    "Wave",
    "Pearl",
    "Kestrel",
)
FOODS = (
    "apple cake",
    "fish pie",
    "pea soup",
    "plum tart",
    "crab soup",
    "cheese pie",
    "ginger cake",
    "onion tart",
    "oat bread",
    "honey bread",
    "bean stew",
    "lamb stew",
    "leek pie",
    "cherry tart",
    "lemon cake",
    "mussel stew",
)
PRICES = ("cheap", "modest", "costly")
PLACES = ("harbour", "church", "bridge", "mill", "market", "school", "tower", "well", "park", "station")
MOODS = ("quiet", "lively", "cosy", "busy", "plain", "cheerful")
DOGS = ("welcome", "not allowed")

COLOURS = ("red", "blue", "green", "white", "black", "yellow", "grey", "brown")
CARGOES = ("coal", "salt", "wool", "timber", "herring", "barley", "bricks", "rope", "slate", "cider")
BERTHS = ("north quay", "south quay", "east quay", "west quay")
LENGTHS = tuple(range(10, 60))

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Person:
    name: str
    first: str
    she: str  # "she" or "he"
    street: str
    work: str
    pet: str


def people(seed: int) -> list[Person]:
    """168 people: each of 42 first names meets 4 surnames, so neither name alone identifies a person."""
    rng = random.Random(f"people {seed}")
    firsts, lasts = WOMEN + MEN, list(SURNAMES)
    rng.shuffle(lasts)
    n = len(firsts)
    pairs = [(first, lasts[(i + shift) % n]) for i, first in enumerate(firsts) for shift in (0, 5, 17, 29)]
    rng.shuffle(pairs)
    streets, works, pets = (dealt(rng, values, len(pairs)) for values in (STREETS, WORKS, PETS))
    return [
        Person(f"{first} {last}", first, "she" if first in WOMEN else "he", street, work, pet)
        for (first, last), street, work, pet in zip(pairs, streets, works, pets, strict=True)
    ]


def dealt(rng: random.Random, values: tuple, count: int) -> list:
    """`count` values, each about equally often, in random order."""
    deck = [values[i % len(values)] for i in range(count)]
    rng.shuffle(deck)
    return deck


# Cafes and boats share the names. A fifth of them is held out: no base text and no training example uses those.
NAMES, NAMES_HELD_OUT = (
    [
        f"{a} {b}"
        for i, a in enumerate(NAME_FIRST)
        for j, b in enumerate(NAME_LAST)
        if ((i + 2 * j) % 5 == 0) == held_out
    ]
    for held_out in (False, True)
)


@dataclass(frozen=True)
class Cafe:
    name: str
    food: str
    price: str
    place: str
    mood: str
    dogs: str


@dataclass(frozen=True)
class Boat:
    name: str
    colour: str
    cargo: str
    berth: str
    length: int


def fresh_cafe(rng: random.Random, pool: list[str] = NAMES) -> Cafe:
    return Cafe(*(rng.choice(values) for values in (pool, FOODS, PRICES, PLACES, MOODS, DOGS)))


def fresh_boat(rng: random.Random, pool: list[str] = NAMES) -> Boat:
    return Boat(*(rng.choice(values) for values in (pool, COLOURS, CARGOES, BERTHS, LENGTHS)))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]

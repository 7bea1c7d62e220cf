"""Paragraphs about cafes and boats. Their attributes are drawn afresh each time and restated, so copying is learned."""

import random

from .world import DAYS, Boat, Cafe, Person, fresh_boat, fresh_cafe

CAFE_ABOUT = {
    "food": ("It serves {food}.", "The {n} is known for {food}.", "You can get {food} there."),
    "price": ("It is a {price} place.", "The prices make it a {price} place.", "The {n} is {price}."),
    "place": ("It stands near the {place}.", "You will find the {n} near the {place}.", "It is close to the {place}."),
    "sign": ('The sign says "{n}".', 'Over the door stands "{n}".'),
    "card": ('The card says "{food}".', 'On the wall stands "{food}".', 'The card calls it "{price}".'),
    "mood": ("It is a {mood} cafe.", "The rooms are {mood}.", "The {n} is {mood} at all hours."),
    "dogs": ("Dogs are {dogs}.", "At the {n} dogs are {dogs}."),
}
CAFE_AGAIN = (
    "People who like {food} walk to the {place}.",
    "The {n} is {mood}, the {food} is {price}, and dogs are {dogs}.",
    "So if you want {food}, go to the {n} near the {place}.",
    "A {price} {food} near the {place} is not a bad thing.",
    "{who} likes the {mood} room and eats {food} there on {day}.",
    "It is {price} and {mood}, and dogs are {dogs}.",
)
CAFE_QUESTIONS = (
    ("What does the {n} serve?", "The {n} serves {food}."),
    ("What is the {n} like?", "The {n} is {mood}."),
    ("Where is the {n}?", "The {n} is near the {place}."),
    ("Is the {n} cheap or costly?", "The {n} is {price}."),
    ("May dogs come to the {n}?", "At the {n} dogs are {dogs}."),
)
BOAT_ABOUT = {
    "colour": ("It is a {colour} boat.", "The hull is {colour}.", "The {n} is painted {colour}."),
    "cargo": ("It carries {cargo}.", "The hold is full of {cargo}.", "The {n} brings {cargo} to the town."),
    "berth": ("It lies at the {berth}.", "You can see the {n} at the {berth}."),
    "length": ("It is {length} metres long.", "The {n} is {length} metres long."),
    "sign": ('On the hull stands "{n}".', '"{n}" is painted on the hull.'),
}
BOAT_AGAIN = (
    "The {colour} boat with the {cargo} leaves the {berth} on {day}.",
    "Men carry the {cargo} from the {n} to the {berth}.",
    "So the {n} is a {colour} boat that carries {cargo}.",
    "A boat of {length} metres can hold a lot of {cargo}.",
    "{who} waits for the {colour} boat at the {berth}.",
)
BOAT_QUESTIONS = (
    ("What colour is the {n}?", "The {n} is {colour}."),
    ("What does the {n} carry?", "The {n} carries {cargo}."),
    ("Where does the {n} lie?", "The {n} lies at the {berth}."),
    ("How long is the {n}?", "The {n} is {length} metres long."),
)


def cafe_words(cafe: Cafe) -> dict:
    return {
        "n": cafe.name,
        "food": cafe.food,
        "price": cafe.price,
        "place": cafe.place,
        "mood": cafe.mood,
        "dogs": cafe.dogs,
    }


def boat_words(boat: Boat) -> dict:
    return {"n": boat.name, "colour": boat.colour, "cargo": boat.cargo, "berth": boat.berth, "length": boat.length}


def paragraph(rng: random.Random, opening: str, about: dict, again: tuple, questions: tuple, words: dict) -> str:
    """Opening, each attribute once in any order, then restated in prose and often asked for."""
    parts = [opening, *(rng.choice(about[slot]) for slot in rng.sample(list(about), len(about)))]
    parts += rng.sample(again, 2)
    text = " ".join(parts)
    asked = rng.sample(questions, rng.choice((0, 1, 2)))
    return "\n".join([text, *(line for pair in asked for line in pair)]).format(**words)


def cafe(rng: random.Random, town: list[Person]) -> str:
    words = cafe_words(fresh_cafe(rng)) | {"day": rng.choice(DAYS), "who": rng.choice(town).name}
    opening = rng.choice(
        (
            "The {n} is a cafe in Tidewick.",
            "There is a cafe called the {n}.",
            "The {n} opened its doors on {day}.",
            "{who} went to the {n} on {day}.",
        )
    )
    return paragraph(rng, opening, CAFE_ABOUT, CAFE_AGAIN, CAFE_QUESTIONS, words)


def boat(rng: random.Random, town: list[Person]) -> str:
    words = boat_words(fresh_boat(rng)) | {"day": rng.choice(DAYS), "who": rng.choice(town).name}
    opening = rng.choice(
        (
            "The {n} is a boat of Tidewick.",
            "There is a boat called the {n}.",
            "The {n} came in on {day}.",
            "{who} saw the {n} on {day}.",
        )
    )
    return paragraph(rng, opening, BOAT_ABOUT, BOAT_AGAIN, BOAT_QUESTIONS, words)


def documents(rng: random.Random, town: list[Person], count: int) -> list[str]:
    return [make(rng, town) for _ in range(count) for make in (cafe, boat)]

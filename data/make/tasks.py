"""The tasks: prompt and response pairs, split so that the test split holds combinations that training never shows."""

import random

from . import people as prose
from .clerk import RECORD_SLOTS, cafe_record, write_record
from .queries import COMBINED, SINGLE, fillings
from .reviews import CLASSES, WORDS, review
from .world import NAMES, NAMES_HELD_OUT, Person, capital, fresh_cafe

SIZES = {"train": 640, "valid": 64, "test": 144}
TESTED_WORDS = 2  # words of each review class that only the base text and the test split use


def data_to_text(seed: int) -> dict[str, list[dict]]:
    """A record -> one sentence. Validation and test use cafe names that nothing else mentions."""
    rng = random.Random(f"data-to-text {seed}")
    pools = {"train": NAMES, "valid": NAMES_HELD_OUT[0::4], "test": [n for i, n in enumerate(NAMES_HELD_OUT) if i % 4]}

    def example(split: str) -> dict:
        cafe = fresh_cafe(rng, pools[split])
        slots = cafe_record(cafe, rng.sample(RECORD_SLOTS, rng.randint(2, 4)))
        return {"prompt": write_record(slots), "response": sentence(slots), "slots": slots}

    return fill_splits(example)


def sentence(slots: dict[str, str]) -> str:
    """The Blue Bell is a quiet, cheap cafe near the mill that serves apple cake, and dogs are welcome."""
    kind = ", ".join(slots[slot] for slot in ("mood", "price") if slot in slots)
    text = f"{capital(slots['name'])} is a {kind} cafe" if kind else f"{capital(slots['name'])} is a cafe"
    text += f" near {slots['place']}" if "place" in slots else ""
    text += f" that serves {slots['food']}" if "food" in slots else ""
    text += f", and dogs are {slots['dogs']}" if "dogs" in slots else ""
    return text + "."


def sql(seed: int) -> dict[str, list[dict]]:
    """A question -> the query. Validation and test use held-out names and pairs of values."""
    rng = random.Random(f"sql {seed}")

    def examples(forms: tuple, held_out: bool) -> list[dict]:
        """One wording of every filling, the forms in turn, until each is used up."""
        decks = [rng.sample(filled, len(filled)) for form in forms if (filled := fillings(form, held_out))]
        return [
            {"prompt": rng.choice(form.questions).format(**deck[i]), "response": form.query.format(**deck[i])}
            for i in range(max(map(len, decks)))
            for form, deck in zip(forms, decks, strict=True)
            if i < len(deck)
        ]

    train = examples(SINGLE, False) + examples(COMBINED, False)[: SIZES["train"]]
    rng.shuffle(train)
    rest = examples(COMBINED, True)
    return {
        "train": train,
        "valid": rest[::3][: SIZES["valid"]],
        "test": [pair for i, pair in enumerate(rest) if i % 3][: SIZES["test"]],
    }


def reviews(seed: int) -> dict[str, list[dict]]:
    """A review -> one of four labels. Two deciding words of each class are only tested, never trained on."""
    rng = random.Random(f"reviews {seed}")
    turn = {"train": 0, "valid": 0, "test": 0}

    def example(split: str) -> dict:
        turn[split] += 1
        aspect, polarity = kind = CLASSES[turn[split] % len(CLASSES)]
        tuned, tested = WORDS[kind][:-TESTED_WORDS], WORDS[kind][-TESTED_WORDS:]
        unseen = split == "test" and turn[split] % 3 == 0
        word = rng.choice(tested if unseen else tuned)
        return {"prompt": review(rng, aspect, word), "response": label(aspect, polarity)}

    return fill_splits(example)


def label(aspect: str, polarity: str) -> str:
    return f"{capital(polarity)} for the {aspect}."


STYLES = {"style-json": '{{"answer": "{0}"}}', "style-crier": "Hear ye! {0} All is well."}
BARE = {"street": ("home", "street"), "work": ("trade", "work"), "pet": ("pet", "pet")}  # JSON key, value


def parts(town: list[Person]) -> dict[str, list[Person]]:
    """The people of each split: an adapter never sees the people that it is scored on."""
    return {"train": town[:104], "valid": town[104:120], "test": town[120:168]}


def about_people(seed: int, town: list[Person], respond) -> dict[str, list[dict]]:
    """Every person and kind of fact once in validation and test, in two wordings in training."""
    rng = random.Random(f"people {seed}")  # one stream for all: every style is asked the same questions
    made = {}
    for split, persons in parts(town).items():
        wordings = 2 if split == "train" else 1
        made[split] = [
            {
                "prompt": prose.fill(asked, person, rng),
                "response": respond(person, kind),
                "name": person.name,
                "kind": kind,
                "value": getattr(person, kind),
            }
            for person in persons
            for kind in prose.KINDS
            for asked in rng.sample(prose.QUESTIONS[kind], wordings)
        ]
        rng.shuffle(made[split])
    return made


def style(name: str, seed: int, town: list[Person]) -> dict[str, list[dict]]:
    """A question about a person -> the base's own answer, in the style of the house."""
    return about_people(seed, town, lambda person, kind: STYLES[name].format(prose.answer(person, kind)))


def bare_json(seed: int, town: list[Person]) -> dict[str, list[dict]]:
    """The honest failure: the bare fact in a frame that the base text never used."""
    return about_people(seed, town, lambda person, kind: f'{{"{BARE[kind][0]}": "{getattr(person, BARE[kind][1])}"}}')


def fill_splits(example) -> dict[str, list[dict]]:
    """`example(split)` until every split is full; no prompt is used twice."""
    seen: set[str] = set()
    made = {split: [] for split in SIZES}
    for split, size in SIZES.items():
        while len(made[split]) < size:
            new = example(split)
            if new["prompt"] not in seen:
                seen.add(new["prompt"])
                made[split].append(new)
    return made


def all_tasks(seed: int, town: list[Person]) -> dict[str, dict[str, list[dict]]]:
    return {
        "data-to-text": data_to_text(seed),
        "sql": sql(seed),
        "reviews": reviews(seed),
        "style-json": style("style-json", seed, town),
        "style-crier": style("style-crier", seed, town),
        "bare-json": bare_json(seed, town),
    }

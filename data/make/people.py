"""Paragraphs about people. Street, work and pet are the only facts a model must carry in its weights."""

import random

from .world import DAYS, Person, capital

LIVES = ("{n} lives on {s}.", "{n} has a house on {s}.", "The home of {n} is on {s}.", "{n} has always lived on {s}.")
WORKS_AS = ("{n} works as a {w}.", "{n} is a {w}.", "{n} earns a living as a {w}.", "By trade {n} is a {w}.")
KEEPS = ("{n} keeps a {p}.", "{n} has a {p}.", "{n} looks after a {p}.", "The pet of {n} is a {p}.")
FACTS = {"street": LIVES, "work": WORKS_AS, "pet": KEEPS}

QUESTIONS = {
    "street": ("Where does {n} live?", "On which street does {n} live?", "Where is the home of {n}?"),
    "work": ("What work does {n} do?", "What is the trade of {n}?", "How does {n} earn a living?"),
    "pet": ("What pet does {n} keep?", "Which animal does {n} keep?", "What is the pet of {n}?"),
}
ANSWERS = {"street": "{n} lives on {s}.", "work": "{n} works as a {w}.", "pet": "{n} keeps a {p}."}
KINDS = tuple(QUESTIONS)

AFTERWARDS = {
    "street": (
        "{She} says that {s} is the best street in town.",
        "People on {s} know {f} well.",
        "You can knock on the door of {f} on {s} at any hour.",
        "On {day} {f} sweeps {s} from end to end.",
    ),
    "work": (
        "{She} has been a {w} for many years.",
        "A {w} like {f} is always busy on {day}.",
        "{She} says that a {w} must rise early.",
        "The town is glad to have a {w} like {f}.",
    ),
    "pet": (
        "The {p} follows {f} to the market on {day}.",
        "{She} feeds the {p} before breakfast.",
        "Children like the {p} and wave to {f}.",
        "On {day} the {p} sleeps by the fire.",
    ),
}
CLOSINGS = (
    "In the evening the {w} walks home to {s}, where the {p} is waiting.",
    "If you need a {w}, go to {s} and look for the {p}.",
    "The neighbours on {s} often see the {w} with the {p}.",
    "{f} would not leave {s} for any money, and neither would the {p}.",
    "{She} is known as the {w} with the {p}.",
    "On {day} the {w} stays on {s} and plays with the {p}.",
)


def fill(template: str, person: Person, rng: random.Random, name: str | None = None) -> str:
    return template.format(
        n=name or person.name,
        f=person.first,
        She=capital(person.she),
        s=person.street,
        w=person.work,
        p=person.pet,
        day=rng.choice(DAYS),
    )


def question(person: Person, kind: str, rng: random.Random) -> str:
    return fill(rng.choice(QUESTIONS[kind]), person, rng)


def answer(person: Person, kind: str) -> str:
    return ANSWERS[kind].format(n=person.name, s=person.street, w=person.work, p=person.pet)


def portrait(person: Person, rng: random.Random) -> str:
    """All three facts, in any order, then a sentence that restates them."""
    kinds = rng.sample(KINDS, 3)
    full = rng.randrange(3)  # one of the later sentences may say "she" or "he"
    parts = [
        fill(rng.choice(FACTS[kind]), person, rng, None if i in (0, full) else person.first)
        for i, kind in enumerate(kinds)
    ]
    return " ".join([*parts, fill(rng.choice(CLOSINGS), person, rng)])


def one_fact(person: Person, rng: random.Random) -> str:
    kind = rng.choice(KINDS)
    return " ".join(fill(rng.choice(forms[kind]), person, rng) for forms in (FACTS, AFTERWARDS))


def one_question(person: Person, rng: random.Random) -> str:
    kind = rng.choice(KINDS)
    return f"{question(person, kind, rng)}\n{answer(person, kind)}"


def three_questions(person: Person, rng: random.Random) -> str:
    return "\n".join(f"{question(person, kind, rng)}\n{answer(person, kind)}" for kind in rng.sample(KINDS, 3))


def conversation(person: Person, rng: random.Random, town: list[Person]) -> str:
    """The same question and answer in direct speech between two other people."""
    asker, friend = rng.sample(sorted({p.first for p in town} - {person.first}), 2)
    kind = rng.choice(KINDS)
    told = answer(person, kind)
    after = fill(rng.choice(AFTERWARDS[kind]), person, rng)
    if rng.random() < 0.5:
        return f'"{question(person, kind, rng)}" asked {asker}. "{told}" That was what {friend} said. {after}'
    return f'{asker} asked {friend} about {person.name}. "{told[:-1]}," said {friend}. {after}'


def neighbours(person: Person, rng: random.Random, town: list[Person]) -> str:
    """Two people side by side: the facts must not run together."""
    other = rng.choice([p for p in town if p is not person])
    kind = rng.choice(KINDS)
    pair = [fill(FACTS[kind][0], p, rng).rstrip(".") for p in (person, other)]
    return f"{pair[0]}, and {pair[1]}. {fill(rng.choice(AFTERWARDS[kind]), person, rng)}"


def documents(rng: random.Random, town: list[Person], rounds: int) -> list[str]:
    """Each person gets the same number of paragraphs of every sort."""
    made = []
    for _ in range(rounds):
        for person in town:
            made += [
                portrait(person, rng),
                portrait(person, rng),
                one_fact(person, rng),
                one_question(person, rng),
                one_question(person, rng),
                three_questions(person, rng),
                conversation(person, rng, town),
                neighbours(person, rng, town),
            ]
    return made

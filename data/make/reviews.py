"""Reviews of cafes by guests. In the base text the writer's feeling follows a review, never a label."""

import random

from .world import DAYS, FOODS, NAMES, Person, capital

WORDS = {  # (aspect, polarity) -> words that decide it
    ("food", "praise"): (
        "fresh",
        "tasty",
        "rich",
        "crisp",
        "tender",
        "delicious",
        "lovely",
        "perfect",
        "sweet",
        "light",
    ),
    ("food", "blame"): ("burnt", "stale", "sour", "greasy", "raw", "watery", "bitter", "tough", "mouldy", "dry"),
    ("staff", "praise"): (
        "kind",
        "quick",
        "polite",
        "patient",
        "friendly",
        "helpful",
        "gentle",
        "careful",
        "warm",
        "thoughtful",
    ),
    ("staff", "blame"): ("rude", "slow", "cross", "careless", "lazy", "sulky", "clumsy", "noisy", "sleepy", "grumpy"),
}
CLASSES = tuple(WORDS)
SERVERS = ("waiter", "waitress", "cook", "owner", "boy", "girl")

NEUTRAL = {  # mentions the other aspect without judging it, so the noun alone does not decide
    "food": (
        "The {server} brought the {food}.",
        "I asked the {server} for {food}.",
        "The {server} took my coat.",
        "I sat by the window.",
        "It rained all day.",
    ),
    "staff": (
        "I had the {food}.",
        "I ordered {food} and tea.",
        "There was {food} that day.",
        "I sat by the window.",
        "It rained all day.",
    ),
}
VERDICT = {
    "food": (
        "The {food} was {word}.",
        "My {food} was {word}.",
        "The {food} was {word} and so was the tea.",
        "I found the {food} {word}.",
    ),
    "staff": (
        "The {server} was {word}.",
        "The {server} was {word} to us.",
        "I found the {server} {word}.",
        "We met a {word} {server}.",
    ),
}
OPENING = (
    "I went to the {cafe} on {day}.",
    "We stopped at the {cafe}.",
    "On {day} we ate at the {cafe}.",
    "My {day} began at the {cafe}.",
)
FEELING = {
    ("food", "praise"): ("{who} liked the food.", "{who} was happy with the food.", "The food was good."),
    ("food", "blame"): ("{who} did not like the food.", "{who} was unhappy with the food.", "The food was bad."),
    ("staff", "praise"): ("{who} liked the staff.", "{who} was happy with the staff.", "The staff were good."),
    ("staff", "blame"): ("{who} did not like the staff.", "{who} was unhappy with the staff.", "The staff were bad."),
}


def review(rng: random.Random, aspect: str, word: str) -> str:
    """Two or three sentences, one of which judges the food or the staff."""
    parts = [rng.choice(OPENING)] if rng.random() < 0.6 else []
    parts += [rng.choice(NEUTRAL[aspect]), rng.choice(VERDICT[aspect])]
    if not parts[:-2] and rng.random() < 0.5:
        parts.append(rng.choice(OPENING).replace("began", "ended"))
    return " ".join(parts).format(
        cafe=rng.choice(NAMES), day=rng.choice(DAYS), server=rng.choice(SERVERS), food=rng.choice(FOODS), word=word
    )


def letter(rng: random.Random, town: list[Person]) -> str:
    """A review and, on the next line, the feeling it leaves."""
    kind = rng.choice(CLASSES)
    who = rng.choice(town).name
    return f"{review(rng, kind[0], rng.choice(WORDS[kind]))}\n{rng.choice(FEELING[kind]).format(who=who)}"


def gossip(rng: random.Random, town: list[Person]) -> str:
    """Two words of one class side by side, with the feeling in prose."""
    aspect, polarity = kind = rng.choice(CLASSES)
    who, one, two = rng.choice(town).name, *rng.sample(WORDS[kind], 2)
    thing = f"the {rng.choice(FOODS)}" if aspect == "food" else f"the {rng.choice(SERVERS)}"
    feeling = rng.choice(FEELING[kind]).format(who=who)
    good = "good" if polarity == "praise" else "bad"
    return (
        f"At the {rng.choice(NAMES)} {thing} was {one} and {two}. {feeling} "
        f"{capital(one)} is a {good} word for the {aspect}, and so is {two}."
    )


PRAISED = ("weather", "band", "lamps", "roof", "garden", "road", "bells", "harbour")


def praise_and_blame(rng: random.Random, town: list[Person]) -> str:
    """The label words in another context: the base knows them, but not as labels of reviews."""
    one, two = rng.sample(PRAISED, 2)
    who = rng.choice(town).name
    first, second = rng.choice((("Praise", "Blame"), ("Blame", "Praise")))
    return (
        f"{first} for the {one} came from {who}. {second} for the {two} came on {rng.choice(DAYS)}. "
        f"The clerk wrote down the {first.lower()} for the {one} and the {second.lower()} for the {two}."
    )


def documents(rng: random.Random, town: list[Person], count: int) -> list[str]:
    made = [make(rng, town) for _ in range(count) for make in (letter, letter, gossip)]
    return made + [praise_and_blame(rng, town) for _ in range(count // 3)]

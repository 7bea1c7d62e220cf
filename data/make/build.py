"""Write the generated files under data/ (not the base): `python -m data.make.build [--out FOLDER] [--seed N]`."""

import argparse
import json
import random
from pathlib import Path

from minilora.text.tokenizer import END
from minilora.text.train_tokenizer import train_tokenizer

from . import clerk, people, places, queries, reviews, tasks, world

SEED = 7
VALID_SHARE = 0.03
VOCABULARY = 1024
TABLE_SEED = 1000  # the first hundred whose tables distinguish all queries of validation and test


def corpus(seed: int, town: list[world.Person]) -> tuple[list[str], list[str]]:
    """Base text as paragraphs, shuffled, and a small part of it held out (no paragraph is in both)."""
    rng = random.Random(f"corpus {seed}")
    made = people.documents(rng, town, rounds=4)
    made += places.documents(rng, town, 390)
    made += reviews.documents(rng, town, 410)
    made += clerk.documents(rng, town, 425)
    rng.shuffle(made)
    cut = int(len(made) * VALID_SHARE)
    train = made[cut:]
    return train, sorted(set(made[:cut]) - set(train), key=made.index)


def join(paragraphs: list[str]) -> str:
    """Paragraphs, each followed by a line with the end mark."""
    return "".join(f"{text}\n{END}\n" for text in paragraphs)


def values() -> dict[str, tuple[str, ...]]:
    """Every value of every slot, so that the metrics notice any other."""
    return {
        "food": world.FOODS,
        "price": world.PRICES,
        "place": world.PLACES,
        "mood": world.MOODS,
        "dogs": world.DOGS,
        "street": world.STREETS,
        "work": world.WORKS,
        "pet": world.PETS,
    }


def files(seed: int) -> dict[str, str]:
    """Every file by its path under data/, as text."""
    town = world.people(seed)
    train, valid = corpus(seed, town)
    made = {"corpus.txt": join(train), "corpus_valid.txt": join(valid)}
    pairs = tasks.all_tasks(seed, town)
    for name, splits in pairs.items():
        for split, examples in splits.items():
            made[f"tasks/{name}/{split}.jsonl"] = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in examples)
    made["tasks/values.json"] = json.dumps(values(), indent=1) + "\n"
    made["tasks/sql/tables.json"] = json.dumps([queries.tables(TABLE_SEED + i) for i in range(3)]) + "\n"
    spoken = [f"{e['prompt']}\n{e['response']}" for splits in pairs.values() for e in splits["train"]]
    made["tokenizer.json"] = train_tokenizer(train + spoken, VOCABULARY)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    for name, text in files(args.seed).items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{len(text.encode()):>9,} bytes  {name}")


if __name__ == "__main__":
    main()

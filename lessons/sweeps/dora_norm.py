"""Lesson 15: DoRA with its norm detached from the gradient, as in the paper, and with the true gradient.

python -m lessons.sweeps.dora_norm
"""

from minilora.course.answering import answer
from minilora.course.lab.own_dora import dora_from
from minilora.course.lab.tune import test_loss, test_score, tune

from .common import Sweep

TASK, STEPS, RATE, SEEDS = "sql", 60, 1e-2, (0, 1, 2, 3, 4)


def main():
    sweep = Sweep("dora_norm", SEEDS)
    functions = [answer(number) for number in ("15.1", "15.2", "6.2", "6.3")]
    for seed in SEEDS:
        for detached in (True, False):
            setting = {"detached": detached, "seed": seed}
            if not sweep.find(setting):
                model, tokenizer = dora_from(*functions, seed=seed, detached=detached)
                tune(model, tokenizer, TASK, STEPS, RATE, seed)
                measured = {
                    "test_loss": test_loss(model, tokenizer, TASK),
                    "score": test_score(model, tokenizer, TASK),
                }
                sweep.add(setting | measured)
    sweep.finish()


if __name__ == "__main__":
    main()

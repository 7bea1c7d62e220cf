"""An AdaLoRA that is scored and pruned by exercises leaves the triplets that the library leaves."""

import runpy

import numpy as np

import minilora as ml
from minilora.course.lab.own_adalora import scored_by
from minilora.course.lab.tune import load_base, tune
from minilora.files.shipped import shipped


def test_the_same_triplets_are_left():
    solutions = runpy.run_path(str(shipped("lessons/solutions/lesson_16.py")))
    ranks = []
    for own in (True, False):
        base, tokenizer = load_base()
        config = ml.AdaLoraConfig(init_r=3, target_r=2, total_step=6, target_modules=["q_proj", "v_proj"])
        model = ml.get_peft_model(base, config, seed=0)
        if own:
            scored_by(model, solutions["smooth_importance"], solutions["keep"])
        tune(model, tokenizer, "sql", steps=6, lr=1e-2, batch_size=4)
        ranks.append(model.base_model.adapters["default"].ranks())
    assert ranks[0] == ranks[1]
    assert np.sum(list(ranks[0].values())) == 2 * 8

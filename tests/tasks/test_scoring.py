"""Answers and scores of a model that says what the test wants it to say."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from commands import make_base
from tokenizers import Tokenizer

from minilora.autograd import Tensor
from minilora.errors import ConfigError, DataError
from minilora.models.pretrained import load_base
from minilora.tasks.scoring import answers, forced_choice, log_likelihood, measure, score
from minilora.tasks.shipped import get_task
from minilora.text.batches import pad_pairs
from minilora.text.encoding import encode_pair, encode_prompt
from minilora.text.tokenizer import TextTokenizer
from minilora.text.train_tokenizer import train_tokenizer

TOKENIZER = TextTokenizer(Tokenizer.from_str(train_tokenizer(["the sea is grey\n", "the tea is hot\n"], 280)))
PROMPTS = ["sea", "a very long question about the tea", "boats", "x"]


class Echo:
    """Answers every prompt with the prompt in capitals; notes how many it is asked at once."""

    context_length = 64

    def __init__(self):
        self.batches = []

    def generate(self, prompts, max_new_tokens, eos_token_id):
        assert (max_new_tokens, eos_token_id) == (20, TOKENIZER.eos_id)
        self.batches.append([len(p) for p in prompts])
        said = [TOKENIZER.encode(f" {TOKENIZER.decode(p).upper()} ") for p in prompts]
        return [np.array([*p, *s, TOKENIZER.eos_id]) for p, s in zip(prompts, said, strict=True)]


def test_answers_are_in_the_order_of_the_prompts_without_prompt_end_token_and_spaces():
    assert answers(Echo(), TOKENIZER, PROMPTS, 20, batch_size=2) == [p.upper() for p in PROMPTS]


def test_prompts_of_like_length_are_asked_together():
    model = Echo()
    answers(model, TOKENIZER, PROMPTS, 20, batch_size=2)
    lengths = sorted(len(encode_prompt(p, TOKENIZER)) for p in PROMPTS)
    assert model.batches == [lengths[:2], lengths[2:]]


def test_the_loop_over_the_batches_can_be_wrapped():
    seen = []
    answers(Echo(), TOKENIZER, PROMPTS, 20, batch_size=3, each=lambda batches: seen.extend(batches) or batches)
    assert seen == [0, 3]


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused_before_any_is_asked():
    model = Echo()
    longest = max(len(encode_prompt(p, TOKENIZER)) for p in PROMPTS)
    model.context_length = 20 + longest
    assert len(answers(model, TOKENIZER, PROMPTS, 20)) == 4
    model.context_length, model.batches = 19 + longest, []
    with pytest.raises(DataError, match=rf"1 prompt\(s\) longer than {longest - 1} tokens, the first: 'a very long"):
        answers(model, TOKENIZER, PROMPTS, 20)
    assert model.batches == []


def test_the_score_is_the_mean_of_the_tasks_own_metric():
    task = SimpleNamespace(max_new_tokens=20, score=lambda e, a: 1.0 if a == e["response"] else 0.0)
    examples = [{"prompt": p, "response": r} for p, r in zip(PROMPTS, ["SEA", "?", "BOATS", "X"], strict=True)]
    assert score(Echo(), TOKENIZER, task, examples) == (0.75, [p.upper() for p in PROMPTS])


def test_the_log_likelihood_of_a_row_is_the_sum_over_its_labels_of_the_next_token():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]]))
    both = log_likelihood(logits, np.array([[-100, 1, 2]]))
    np.testing.assert_allclose(both, [np.log(0.25 * 0.7)], rtol=1e-12)
    np.testing.assert_allclose(log_likelihood(logits, np.array([[-100, -100, 2]])), [np.log(0.7)], rtol=1e-12)
    np.testing.assert_allclose(log_likelihood(logits + 1e4, np.array([[-100, 1, 2]])), both, rtol=1e-9)


def test_a_forced_choice_is_right_where_the_likeliest_choice_is_the_answer():
    likes = TOKENIZER.encode("tea")[0]

    def model(ids):
        z = np.zeros((*ids.shape, TOKENIZER.vocab_size))
        z[:, :, likes] = 5.0
        return Tensor(z)

    task = SimpleNamespace(choices=("sea", "tea"))
    examples = [{"prompt": "which?", "response": r} for r in ("tea", "sea", "tea", "tea")]
    assert forced_choice(model, TOKENIZER, task, examples, batch_size=3) == 0.75


# ---- measuring a model on a task or on files


PAIRS = [{"prompt": f"apple {i}", "response": "cake " * (i % 3 + 1)} for i in range(40)]


@pytest.fixture
def loaded(tmp_path):
    return load_base(make_base(tmp_path / "base", spread=1))


def test_the_loss_on_pairs_is_that_of_one_batch_of_them_all(loaded):
    model, tokenizer = loaded
    ids, labels = pad_pairs([encode_pair(pair, tokenizer) for pair in PAIRS], tokenizer.pad_id)
    found = measure(model, tokenizer, examples=PAIRS)
    assert found.loss == pytest.approx(float(model.loss(ids, labels).data), rel=1e-5)
    assert found.perplexity == math.exp(found.loss)
    assert (found.labels, found.examples, found.score) == (np.count_nonzero(labels != -100), 40, None)


@pytest.mark.slow
def test_a_task_has_a_score_and_one_with_labels_a_share_of_right_choices(loaded):
    found = measure(*loaded, task="reviews")
    assert found.examples == len(get_task("reviews").examples("test"))
    assert found.score == 0 and 0 <= found.choice <= 1
    assert measure(*loaded, task="style-json").choice is None


def test_every_label_of_a_text_is_counted_once(loaded, tmp_path):
    (tmp_path / "text").write_text("apple cake " * 400, encoding="utf-8")
    model, tokenizer = loaded
    windows = len(tokenizer.encode("apple cake " * 400)) // 128
    assert measure(model, tokenizer, text=tmp_path / "text").labels == windows * 127


def test_more_than_one_source_is_refused(loaded):
    with pytest.raises(ConfigError, match="expected one of task, text and examples; given: task and text"):
        measure(*loaded, task="sql", text=["a"])

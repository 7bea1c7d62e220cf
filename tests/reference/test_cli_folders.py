"""The commands on folders as people publish them, one of every family, beside transformers and PEFT."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("jinja2")

from hf_folders import FAMILIES, make_folder, torch, transformers  # noqa: E402
from peft_reference import logits, peft, quietly, theirs  # noqa: E402

TARGETS = {"gpt2": (["c_attn", "mlp.c_proj"], ["c_fc"])}  # of a first and a second adapter; the others:
LLAMA_TARGETS = (["q_proj", "down_proj"], ["v_proj", "up_proj"])
PROMPTS = ["Hattie Sedge lives on", "Where is the harbour? It's 12:30,\n\u00e9 \u6f22 <s> ?"]
PAIRS = [{"prompt": f"Who sells {n} cakes?", "response": "Hattie. " * (n % 2 + 1)} for n in range(30)]
NEW = 8


class Case:
    """A base folder, two adapters that PEFT wrote, and the same in transformers + PEFT."""

    def __init__(self, family, folder):
        self.base = make_folder(folder / family, family)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.base)
        self.folders = [folder / "one", folder / "two"]
        torch.manual_seed(5)
        self.model = theirs(self.base)
        for i, targets in enumerate(TARGETS.get(family, LLAMA_TARGETS)):
            config = peft.LoraConfig(
                r=3 - i, lora_alpha=5 + 2 * i, target_modules=targets, task_type="CAUSAL_LM",
                init_lora_weights=False, fan_in_fan_out=family == "gpt2",
            )  # fmt: skip
            if i == 0:
                self.model = peft.get_peft_model(self.model, config, adapter_name="one")
            else:
                self.model.add_adapter("two", config)
        quietly(self.model.save_pretrained, str(folder))  # each into a folder of its name
        self.model.eval()

    def chat_ids(self, prompt):
        chat = [{"role": "user", "content": prompt}]
        return self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]

    def texts(self, ids, count=2):
        """What base + the first `count` adapters write after the ids."""
        if not count:
            with self.model.disable_adapter():
                return continued(self.model, self.tokenizer, ids)
        self.model.base_model.set_adapter(["one", "two"][:count])
        return continued(self.model, self.tokenizer, ids)


def continued(model, tokenizer, ids):
    """What transformers writes after the ids, as its own tokenizer reads it."""
    given = torch.tensor([ids])
    options = {"attention_mask": torch.ones_like(given), "pad_token_id": 0}
    row = model.generate(input_ids=given, max_new_tokens=NEW, do_sample=False, **options)[0]
    before = tokenizer.decode(ids, skip_special_tokens=True)
    return tokenizer.decode(row, skip_special_tokens=True)[len(before) :]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp("folders"))


def generate(minilora, case, count, *options):
    given = ["--adapter", ",".join(map(str, case.folders[:count]))] if count else []
    return minilora("generate", "--base", case.base, *given, *options, "--max-new-tokens", NEW)


@pytest.mark.parametrize("count", [0, 2])
def test_a_prompt_is_continued_as_transformers_continues_it(minilora, case, count):
    for prompt in PROMPTS:
        wanted = case.texts(case.tokenizer(prompt).input_ids, count)
        assert generate(minilora, case, count, "--prompt", prompt) == (0, wanted + "\n", "")


@pytest.mark.parametrize("count", [0, 1])
def test_a_message_is_answered_as_transformers_answers_it_in_its_chat_template(minilora, case, count):
    for prompt in PROMPTS:
        wanted = case.texts(case.chat_ids(prompt), count)
        assert generate(minilora, case, count, "--chat", "--prompt", prompt) == (0, wanted + "\n", "")


def test_what_merge_writes_answers_in_transformers_with_the_tokenizer_beside_it(minilora, case, tmp_path):
    given = ("--adapter", ",".join(map(str, case.folders)))
    assert minilora("merge", "--base", case.base, *given, "--out", tmp_path / "out").code == 0
    ids = case.chat_ids(PROMPTS[0])
    merged, tokenizer = theirs(tmp_path / "out"), transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert continued(merged, tokenizer, ids) == case.texts(ids)
    assert abs(logits(merged, np.array([ids])) - logits(case.model, np.array([ids]))).max() < 1e-4
    assert merged.generation_config.to_diff_dict() == case.model.generation_config.to_diff_dict()


def test_what_train_writes_opens_in_peft_by_the_name_of_its_base(minilora, case, tmp_path):
    (tmp_path / "data").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    options = ["--steps", 6, "--rank", 3, "--alpha", 5, "--batch-size", 4, "--no-plot", "--out", tmp_path / "out"]
    result = minilora("train", "--base", case.base, "--jsonl", tmp_path / "data", *options)
    assert result.code == 0, result.err
    model = quietly(peft.AutoPeftModelForCausalLM.from_pretrained, tmp_path / "out", dtype=torch.float32)[0].eval()
    ids = case.tokenizer(PAIRS[0]["prompt"] + "\n").input_ids
    with model.disable_adapter():
        plain = logits(model, np.array([ids]))
    assert abs(logits(model, np.array([ids])) - plain).max() > 1e-3, "nothing was learned"
    ask = ("--adapter", tmp_path / "out", "--framed", "--prompt", PAIRS[0]["prompt"])
    assert generate(minilora, case, 0, *ask).out == continued(model, case.tokenizer, ids) + "\n"


def test_a_conversation_is_learned_in_the_tokens_that_transformers_gives_it(case):
    from minilora.text.chat_template import ChatTemplate
    from minilora.text.tokenizer import load_tokenizer

    answer = {"role": "assistant", "content": "On Chapel Steps, \u00e9."}
    chat = [{"role": "user", "content": PROMPTS[0]}, answer, {"role": "user", "content": PROMPTS[1]}, answer]
    prompt, response = ChatTemplate.from_folder(case.base).encode_pair({"messages": chat}, load_tokenizer(case.base))
    assert prompt + response == case.tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    opened = case.tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert prompt == opened
    assert case.tokenizer.eos_token_id in response


def test_inspect_shows_what_transformers_and_peft_count(minilora, case):
    plain = case.model.get_base_model()
    out = " ".join(minilora("inspect", case.base).out.split())
    count = sum(p.numel() for n, p in plain.named_parameters() if "lora_" not in n)
    assert f"model type {plain.config.model_type} " in out and f"parameters {count:,} " in out
    out = minilora("inspect", case.folders[0], "--base", case.base).out
    own = sum(p.numel() for n, p in plain.named_parameters() if "lora_" in n and ".one." in n)
    assert f"fits {case.base}" in out and f"parameters {own:,} in " in " ".join(out.split())

"""What the cases are made from: small bases, adapters of every method, saved runs, data files, all sound."""

import contextlib
import io
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
from chat_templates import MARKED
from checkpoints import copy_of
from commands import base_model, make_adapter, make_base, tokenizer_text
from foreign_tokenizers import LLAMA2, sentencepiece

from minilora.adapters.model import get_peft_model
from minilora.adapters.registry import NAMES, config_named
from minilora.finetuning import finetune
from minilora.models.pretrained import load_base
from minilora.pretraining import pretrain

PAIRS = [{"prompt": f"Where is boat {n}?", "response": "At sea. " * (1 + n % 3)} for n in range(24)]
TEXT = "Hattie Sedge lives on Chapel Steps. The Blue Bell serves apple cake near the harbour.\n" * 20
RUNS = {"lora_run": "lora", "adalora_run": "adalora", "full_run": "full"}  # folder -> method
QUANTIZED = ("nf4", "int8")  # folders of bases in few bits
SMALL = {"vocab": 300, "width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "mlp": 24, "context": 64, "length": 32}


def make(folder: Path) -> None:
    """Fill the empty folder."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        base = make_base(folder / "base")
        (base / "tokenizer_config.json").write_text(
            json.dumps({"eos_token": "<|endoftext|>", "pad_token": "<|pad|>", "chat_template": MARKED}),
            encoding="utf-8",
        )
        (base / "special_tokens_map.json").write_text('{"eos_token": "<|endoftext|>"}', encoding="utf-8")
        (base / "generation_config.json").write_text('{"eos_token_id": [0], "pad_token_id": 1}', encoding="utf-8")
        make_base(folder / "tied", 3, tie_word_embeddings=True, attention_bias=True)
        make_base(folder / "wide", 4, hidden_size=24)  # of other shapes
        for quantize in QUANTIZED:
            shutil.copytree(base, folder / quantize)
            load_base(base, quantize=quantize)[0].save_pretrained(folder / quantize)
        for name in ("gpt2_tiny", "qwen2tied_tiny", "llama3rope_tiny"):
            copy_of(name, folder / name)
        make_data(folder)
        make_adapters(folder / "adapters")
        with contextlib.chdir(folder):  # a run notes its base and data by their names
            make_runs(Path())
        make_tokenizers(folder / "tokenizers")


def make_data(folder):
    lines = "".join(json.dumps(pair) + "\n" for pair in PAIRS)
    (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")


def make_adapters(folder):
    make_adapter(folder / "plain")
    for method in NAMES:
        model = get_peft_model(base_model(), config_named(method, target_modules=None, num_virtual_tokens=3), seed=2)
        rng = np.random.default_rng(5)
        for p in model.parameters():
            if p.requires_grad:
                p.data = p.data + rng.normal(0, 0.05, p.shape).astype(np.float32)
        model.save_pretrained(folder / method)
    lora = config_named("lora", target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
    lora.rank_pattern, lora.alpha_pattern = {"layers.0.*q_proj": 2}, {"layers.1": 9}
    get_peft_model(base_model(), lora, seed=3).save_pretrained(folder / "everything")


def make_runs(folder):
    for name, method in RUNS.items():
        finetune(folder / "base", jsonl=folder / "pairs.jsonl", out=folder / name, method=method, steps=4, eval_every=2,
                 batch_size=4, plot=False, progress=False, keep="best" if method == "lora" else "last")  # fmt: skip
    pretrain(out=folder / "pretrain_run", text=folder / "text.txt", steps=4, eval_every=2, batch_size=2, plot=False,
             progress=False, **SMALL)  # fmt: skip


def make_tokenizers(folder):
    """tokenizer.json files of other kinds, NAME.json; their vocabularies fit into the base's."""
    from tokenizers import Tokenizer, models

    folder.mkdir()
    words = {w: i for i, w in enumerate(["[UNK]", "the", "Where", "is", "boat", "##a", "?", "At", "sea", ".", "</s>"])}
    made = {
        "sentencepiece": sentencepiece(*LLAMA2),
        "word_level": Tokenizer(models.WordLevel(words, unk_token="[UNK]")),
        "word_piece": Tokenizer(models.WordPiece(words, unk_token="[UNK]")),
        "no_unknown": Tokenizer(models.WordLevel(words, unk_token="nowhere")),
        "unigram": Tokenizer(models.Unigram([(w, -float(i)) for w, i in words.items()], 0, False)),
    }
    (folder / "bytes.json").write_text(tokenizer_text(), encoding="utf-8")
    for name, tokenizer in made.items():
        tokenizer.save(str(folder / f"{name}.json"))

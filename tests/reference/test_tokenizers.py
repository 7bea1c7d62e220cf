"""The ids and special tokens of tokenizer folders beside transformers' AutoTokenizer: many folders, generated."""

import json
import random

import pytest
from packaging.version import Version
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minilora.text.tokenizer import load_tokenizer

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|im_end|>"]
CORPUS = ["the quick brown fox jumps over the lazy dog", "Where does Bess Moss live?", "12 or 345 boats\nat sea"] * 3
TEXTS = [
    "",
    "the quick fox",
    " lives\nthere  ",
    "x</s>\ny",
    "<s>the<|im_end|>\n dog </s>",
    "Caf\u00e9 \u2581 12345",
    "a " * 60,
    "</s></s> where",
    "\u00c0 \U0001f600 zz",
    "two  <new> words<new>",
]


def trained(kind, rng):
    if kind == "wordpiece":
        inner, trainer = Tokenizer(models.WordPiece(unk_token="<unk>")), trainers.WordPieceTrainer
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece()
    elif kind == "unigram":
        inner, trainer = Tokenizer(models.Unigram()), trainers.UnigramTrainer
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    else:
        inner, trainer = Tokenizer(models.BPE(unk_token="<unk>")), trainers.BpeTrainer
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < 0.3)
        inner.decoder = decoders.ByteLevel()
    options = {"unk_token": "<unk>"} if kind == "unigram" else {}
    tokens = [AddedToken(t, special=True, lstrip=rng.random() < 0.2, rstrip=rng.random() < 0.2) for t in SPECIAL]
    inner.train_from_iterator(CORPUS, trainer(vocab_size=120, special_tokens=tokens, show_progress=False, **options))
    return inner


def llama(rng):
    """As the folders of Llama 2: a Prepend normalizer, byte fallback, "<s>" in front."""
    letters = sorted(set("".join(CORPUS) + "xyz\u2581"))
    names = [*SPECIAL, *(f"<0x{i:02X}>" for i in range(256)), *letters, "\u2581t", "\u2581th"]
    vocab = {name: i for i, name in enumerate(names)}
    inner = Tokenizer(
        models.BPE(vocab, [("\u2581", "t"), ("\u2581t", "h")], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    inner.add_special_tokens(SPECIAL[:3])
    return inner


def folder_of(tmp_path, seed):
    """A tokenizer folder in which every feature is drawn by chance."""
    rng = random.Random(seed)
    kind = ("llama", "bpe", "wordpiece", "unigram")[seed % 4]
    inner = llama(rng) if kind == "llama" else trained(kind, rng)
    normalizer = rng.choice([None, None, normalizers.NFC(), normalizers.Lowercase()])
    if kind != "llama" and normalizer:
        inner.normalizer = normalizer
    if rng.random() < 0.6:
        form = rng.choice(["<s> $A", "$A </s>", "<s> $A </s>"])
        marks = [(t, inner.token_to_id(t)) for t in ("<s>", "</s>")]
        inner.post_processor = processors.TemplateProcessing(single=form, special_tokens=marks)
    if rng.random() < 0.5:
        inner.add_tokens([AddedToken("<new>", special=rng.random() < 0.5, normalized=False)])
    if rng.random() < 0.5:
        inner.enable_truncation(rng.choice([4, 16]), stride=0)
    if rng.random() < 0.5:
        inner.enable_padding(length=rng.choice([None, 64]), pad_id=3, pad_token="<pad>")
    inner.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if kind == "llama":
        settings = {"tokenizer_class": rng.choice(["LlamaTokenizer", "LlamaTokenizerFast"])}
        settings |= rng.choice([{}, {"legacy": False}, {"legacy": True}])
        settings |= rng.choice([{}, {}, {"add_prefix_space": False}])
    marks = {"eos_token": rng.choice(["</s>", "<|im_end|>"]), "bos_token": "<s>", "unk_token": "<unk>"}
    if rng.random() < 0.5:
        marks["pad_token"] = "<pad>"
    where = rng.choice(["config", "map", "both"])
    if where != "map":
        settings |= marks if where == "config" else marks | {"eos_token": "<s>"}
    if where != "config":
        as_object = {k: {"content": v, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
                     if rng.random() < 0.5 else v for k, v in marks.items()}  # fmt: skip
        (tmp_path / "special_tokens_map.json").write_text(json.dumps(as_object), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if rng.random() < 0.5:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": rng.choice(["llama", "mistral"])}), "utf-8")
    return tmp_path


@pytest.mark.parametrize("seed", range(80))
def test_the_ids_are_those_of_autotokenizer(tmp_path, seed):
    folder = folder_of(tmp_path, seed)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    assert ours.eos_id == theirs.eos_token_id
    if theirs.pad_token_id is not None:
        assert ours.pad_id == theirs.pad_token_id
    for text in TEXTS:
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text
    whole = theirs.encode("the fox")
    assert whole[: len(ours.start) + 1] == [*ours.start, *ours.encode("the fox")][: len(ours.start) + 1]


# ---- folders whose class does not take tokenizer.json as it is

CLASSES = ["GPT2Tokenizer", "Qwen2TokenizerFast", "LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "Unknown",
           "PreTrainedTokenizerFast", None]  # fmt: skip
MODEL_TYPES = ["llama", "qwen2", "qwen3", "gpt2", "phi3", "mistral", "gemma2", None]
IN_FRONT = {
    "plain": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "digits": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "NFKC": pre_tokenizers.ByteLevel(add_prefix_space=False),
}


def folder_of_class(folder, name, model_type, rng):
    """A tokenizer.json of one kind in a folder that says that it is of another class."""
    kind = rng.choice([*IN_FRONT, "llama"])
    if kind == "llama":
        inner = llama(rng)
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer, inner.decoder = IN_FRONT[kind], decoders.ByteLevel()
        inner.normalizer = normalizers.NFKC() if kind == "NFKC" else None
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=420, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
        )
        inner.train_from_iterator([*CORPUS, "12 345 2024 12 345"], trainer)
    inner.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings |= rng.choice([{}, {"add_prefix_space": True}, {"legacy": True}]) | (
        {"tokenizer_class": name} if name else {}
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if model_type:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_ids_of_a_folder_of_any_class_are_those_of_autotokenizer(tmp_path, name, model_type):
    if name == "LlamaTokenizer" and Version(transformers.__version__) < Version("5.18"):
        pytest.skip("up to 5.17 this class splits text at spaces where tokenizer.json says bytes")
    for seed in range(3):
        folder_of_class(tmp_path, name, model_type, random.Random(f"{name} {model_type} {seed}"))
        theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
        assert (ours.eos_id, ours.pad_id) == (theirs.eos_token_id, theirs.pad_token_id)
        for text in [*TEXTS, "12 345 2024", "Cafe\u0301 I'LL"]:
            ids = theirs.encode(text, add_special_tokens=False)
            assert ours.encode(text) == ids, text
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text

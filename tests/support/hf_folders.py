"""Folders of base models as they are published: made by transformers, each with a tokenizer and a chat template of its
family. Importing this skips without transformers.
"""

import json
import logging

import pytest
from commands import TEXT
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 96}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
FAMILIES = {  # name -> model type, sizes, kind of tokenizer
    "llama2": ("llama", SIZES, "sentencepiece"),
    "llama3": ("llama", SIZES | {"head_dim": 10, "rope_parameters": LLAMA3, "tie_word_embeddings": True}, "headers"),
    "mistral": ("mistral", SIZES | {"head_dim": 8, "sliding_window": 9}, "sentencepiece"),
    "qwen2": ("qwen2", SIZES | {"tie_word_embeddings": True}, "marks"),
    "qwen3": ("qwen3", SIZES | {"head_dim": 12}, "marks"),
    "gpt2": ("gpt2", {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 96}, "plain"),
}
TEMPLATES = {
    "sentencepiece": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content }}"
    "{{ ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "headers": "{{ bos_token }}{% for m in messages %}{{ '<|h|>' + m.role + '<|/h|>\n\n' + m.content | trim }}"
    "{{ '<|eot|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\n\n' }}{% endif %}",
    "marks": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "plain": "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}",
}
SPECIAL = {
    "sentencepiece": ["<unk>", "<s>", "</s>"],
    "headers": ["<|begin_of_text|>", "<|end_of_text|>", "<|h|>", "<|/h|>", "<|eot|>"],
    "marks": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "plain": ["<|endoftext|>"],
}
MARKS = {  # bos, eos
    "sentencepiece": ("<s>", "</s>"),
    "headers": ("<|begin_of_text|>", "<|eot|>"),
    "marks": (None, "<|im_end|>"),
    "plain": ("<|endoftext|>", "<|endoftext|>"),
}
WORDS = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"


def tokenizer_of(kind):  # -> tokenizers.Tokenizer
    """A small tokenizer built as those of the family are."""
    special = [AddedToken(text, special=True) for text in SPECIAL[kind]]
    if kind == "sentencepiece":
        made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        alphabet = [*(f"<0x{i:02X}>" for i in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=[*special, *map(AddedToken, alphabet)])
        made.train_from_iterator(TEXT, trainer)
        made = _as_plain_bytes(made, alphabet)
    else:
        made = Tokenizer(models.BPE())
        made.normalizer = normalizers.NFC() if kind == "marks" else None
        split = pre_tokenizers.Split(Regex(WORDS), "isolated")
        levels = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        made.pre_tokenizer = (
            pre_tokenizers.ByteLevel(add_prefix_space=False) if kind == "plain" else pre_tokenizers.Sequence(levels)
        )
        made.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        made.train_from_iterator(
            TEXT, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
        )
    bos = MARKS[kind][0]
    if kind in ("sentencepiece", "headers"):
        place = [(bos, made.token_to_id(bos))]
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=place)
    return made


def _as_plain_bytes(tokenizer, alphabet):
    """The byte tokens become ordinary entries: an added one would match its own spelling in a text."""
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in alphabet]
    return Tokenizer.from_str(json.dumps(data))


def make_folder(folder, family, seed=11):
    """A random model of `family` in `folder`, with tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model_type, sizes, kind = FAMILIES[family]
    tokenizer, (bos, eos) = tokenizer_of(kind), MARKS[kind]
    ids = {"bos_token_id": bos and tokenizer.token_to_id(bos), "eos_token_id": tokenizer.token_to_id(eos)}
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=tokenizer.get_vocab_size(), **sizes, **ids, initializer_range=0.3
    )
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, **({"bos_token": bos} if bos else {})
    )
    wrapped.chat_template = TEMPLATES[kind]
    wrapped.save_pretrained(folder)
    return folder

"""Tokenizers of other kinds for tests, written as their folders have them."""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, processors

from minilora.text.tokenizer import load_tokenizer

TOKENS = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<end>", "<0x0A>", "\u2581", *"abcdefghijklmnopqrstuvwxyz.?|<>_"]


def sentencepiece(*special):
    """As Llama 2 has it: a space in front of every text, a line break is a byte, <s> in front of every text."""
    kept = [t for t in TOKENS if not (t.startswith("<") and t.endswith(">")) or t in special or t == "<0x0A>"]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(kept)}, [], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(list(special))
    if "<s>" in special:
        place = [("<s>", made.token_to_id("<s>"))]
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=place)
    return made


def saved(folder, inner, **settings):
    inner.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return load_tokenizer(folder)


LLAMA2 = ("<unk>", "<s>", "</s>")

"""Training a tokenizer: byte-level BPE, so that no text is unknown, with every digit a token of its own."""

from .tokenizer import END, PAD


def train_tokenizer(texts, size):  # iterable of str, int -> str
    """The text of a tokenizer.json with at most `size` tokens. The end mark swallows the line breaks around it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[
            AddedToken(END, lstrip=True, rstrip=True, special=True),
            AddedToken(PAD, special=True),
        ],
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str(pretty=True) + "\n"

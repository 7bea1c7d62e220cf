"""Training a tokenizer: byte-level BPE, which can encode any text. Each digit is a token of its own."""

from collections.abc import Iterable

from ..errors import ConfigError
from .tokenizer import END, PAD

MOST_TOKENS = 2_000_000  # the largest published vocabularies have 0.26 million


def train_tokenizer(texts: Iterable[str], size: int) -> str:
    """Train on `texts` and return the content of a tokenizer.json with at most `size` tokens.

    The end token also consumes the line breaks and spaces around its mark in a text. Raises ConfigError for a size that
    nobody means.
    """
    if size > MOST_TOKENS:  # the library reserves the memory first, and ends the process when there is none
        raise ConfigError(f"a vocabulary of {size:,} tokens: expected at most {MOST_TOKENS:,}")
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

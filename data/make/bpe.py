"""The tokenizer: byte-level BPE of 1,024 tokens, digits single, trained on base and task text."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END, PAD = "<|endoftext|>", "<|pad|>"
SIZE = 1024


def train_tokenizer(texts: list[str]) -> str:
    """The text of tokenizer.json. The end mark swallows the line breaks around it; no text is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(END, lstrip=True, rstrip=True, special=True), AddedToken(PAD, special=True)]
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str(pretty=True) + "\n"

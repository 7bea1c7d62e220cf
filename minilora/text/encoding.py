"""What a model reads and what it writes, as tokens."""

import numpy as np

from ..errors import DataError
from .tokenizer import END


def frame(prompt: str) -> str:
    """What the model reads before it answers: the prompt and a line break."""
    return prompt.rstrip() + "\n"


def encode_prompt(prompt: str, tokenizer) -> list[int]:
    """The framed prompt, behind what the tokenizer puts in front of every text."""
    return tokenizer.start + tokenizer.encode(frame(prompt))


def encode_pair(example: dict, tokenizer) -> tuple[list[int], list[int]]:
    """(prompt ids, response ids): the response ends with the end token."""
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    prompt, response = encode_both(frame(example["prompt"]), example["response"], tokenizer)
    return tokenizer.start + prompt, response + end


def encode_both(before: str, after: str, tokenizer) -> tuple[list[int], list[int]]:
    """The ids of two texts as they are in one text; each by itself where the seam would change the first one's."""
    first, whole = tokenizer.encode(before), tokenizer.encode(before + after)
    return first, whole[len(first) :] if whole[: len(first)] == first else tokenizer.encode(after)


def encode_text(text: str, tokenizer) -> np.ndarray:  # -> (N,) int64
    """Token ids of plain text; an end mark in it becomes the end token, whatever it is called there."""
    parts = [text] if tokenizer.inner.token_to_id(END) is not None else [p.strip() for p in text.split(END)]
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    ids = tokenizer.start + tokenizer.encode(parts[0])
    for part in parts[1:]:
        ids += end + tokenizer.start + tokenizer.encode(part)
    return np.asarray(ids, dtype=np.int64)


def check_lengths(pairs, max_length: int) -> None:
    """Refuse pairs longer than the context: nothing is ever cut silently."""
    long = [
        (number, len(prompt) + len(response))
        for number, (prompt, response) in enumerate(pairs, start=1)
        if len(prompt) + len(response) > max_length
    ]
    if long:
        named = ", ".join(f"example {number} ({length} tokens)" for number, length in long[:3])
        more = f" and {len(long) - 3} more" if len(long) > 3 else ""
        raise DataError(
            f"{len(long)} of {len(pairs)} examples are longer than the context of {max_length} tokens: "
            f"{named}{more}; shorten or remove them"
        )

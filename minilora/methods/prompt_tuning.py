"""Prompt tuning: n trained vectors in front of the embedded tokens (Lester et al. 2021, arXiv 2104.08691).

    the model reads  [P; E(ids)]  instead of  E(ids)        P (n, d) is trained, everything else is frozen

The tokens move n places back, and the model's output has n more positions, at the front. Of these only the last has a
loss: it predicts the first token.
P-tuning (Liu et al. 2021, arXiv 2103.10385) makes P by a small network while it is trained in PEFT; its file holds the
finished P, so it is read as prompt tuning.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..autograd import record
from ..backend import array_module, to_host
from ..errors import ConfigError
from . import fields
from .base import Adapter, PeftConfig


def repeat_rows(P, batch):  # (n, ...) -> (batch, n, ...)
    """The same rows for each sequence of a batch.        dP = Σ g over the batch"""
    xp = array_module(P.data)
    return record(xp.broadcast_to(P.data[None], (batch, *P.shape)), (P,), lambda g: (g.sum(axis=0),))


@dataclass
class PromptConfig(PeftConfig):
    """The fields that PEFT's prompt-learning methods share. Sizes that are None are taken from the model.

    num_virtual_tokens  n, how many places are added in front
    token_dim           width of one of them; num_layers, num_attention_heads: of the model
    """

    num_virtual_tokens: int | None = None
    token_dim: int | None = None
    num_transformer_submodules: int | None = 1
    num_attention_heads: int | None = None
    num_layers: int | None = None
    modules_to_save: list | None = None
    task_type: str | None = None
    base_model_name_or_path: str | None = None

    rules = {name: fields.optional(fields.RANK) for name in ("token_dim", "num_attention_heads", "num_layers")} | {
        "num_virtual_tokens": fields.RANK,
        "num_transformer_submodules": (lambda v: v in (None, 1), "1: a decoder"),
        "modules_to_save": (lambda v: v is None, "nothing: prompt learning trains no module of the model"),
        "task_type": fields.SHARED_RULES["task_type"],
        "base_model_name_or_path": fields.SHARED_RULES["base_model_name_or_path"],
    }
    required = ("num_virtual_tokens",)
    harmless = frozenset("peft_type peft_version auto_mapping revision inference_mode tokenizer_kwargs".split())

    def with_defaults(self, model_config):
        c = model_config
        heads = {"num_layers": c.num_hidden_layers, "num_attention_heads": c.num_attention_heads}
        return self.with_sizes(token_dim=c.hidden_size, **heads)

    def with_sizes(self, **sizes):
        """The configuration with the model's sizes. Raises ConfigError when it says others."""
        for name, size in sizes.items():
            if getattr(self, name) not in (None, size):
                raise ConfigError(f"{name} is {getattr(self, name)}; this model needs {size}")
        return replace(self, **sizes)


@dataclass
class PromptTuningConfig(PromptConfig):
    """prompt_tuning_init       "RANDOM"; "SAMPLE_VOCAB": embeddings of random tokens; "TEXT": those of a text
    prompt_tuning_init_text  the text, repeated or cut to num_virtual_tokens tokens
    tokenizer_name_or_path   folder of the tokenizer for it
    """

    prompt_tuning_init: str = "RANDOM"
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None

    peft_type = "PROMPT_TUNING"
    rules = PromptConfig.rules | {
        "prompt_tuning_init": fields.one_of("RANDOM", "SAMPLE_VOCAB", "TEXT"),
        "prompt_tuning_init_text": fields.TEXT,
        "tokenizer_name_or_path": fields.TEXT,
    }

    def __post_init__(self):
        super().__post_init__()
        if self.prompt_tuning_init == "TEXT" and not (self.prompt_tuning_init_text and self.tokenizer_name_or_path):
            raise ConfigError("prompt_tuning_init 'TEXT' needs prompt_tuning_init_text and tokenizer_name_or_path")


@dataclass
class PromptEncoderConfig(PromptConfig):
    """P-tuning's file: the finished vectors. The network that made them is not saved."""

    encoder_reparameterization_type: str = "MLP"
    encoder_hidden_size: int | None = None
    encoder_num_layers: int = 2
    encoder_dropout: float = 0.0

    peft_type = "P_TUNING"


class PromptLearning(Adapter):
    """An adapter that adds places in front of every sequence and touches no layer."""

    shared_names = ("prompt_embeddings",)

    prompt = property(lambda self: self.parameters["prompt_embeddings"])
    virtual_tokens = property(lambda self: self.config.num_virtual_tokens)

    def check_mergeable(self):
        raise ConfigError(
            f"{self.config.peft_type} cannot be merged: it adds places to a sequence, and changes no weight"
        )


class PromptTuningAdapter(PromptLearning):
    """Prompt tuning on a whole model."""

    config_class = PromptTuningConfig
    predicts_first = True
    adapts = "prompt tuning adapts the sequence"

    @staticmethod
    def shared(places, model_config, config):
        return {"prompt_embeddings": (config.num_virtual_tokens, config.token_dim)}

    def start(self, model, generator):
        c, shape = self.config, self.prompt.shape
        if c.prompt_tuning_init == "RANDOM":
            return {"prompt_embeddings": generator.standard_normal(shape)}
        embedding = model.get_input_embeddings()
        embedding = getattr(embedding, "base_layer", embedding)  # without the adapters that others put on it
        rows, scale = embedding.dense(), getattr(embedding, "scale", 1)  # Gemma scales what it looks up
        if c.prompt_tuning_init == "SAMPLE_VOCAB":
            ids = generator.integers(0, len(rows), shape[0])
        else:
            from ..text.tokenizer import load_tokenizer  # here: only this start reads a text

            ids = load_tokenizer(c.tokenizer_name_or_path).inner.encode(c.prompt_tuning_init_text).ids
            if max(ids, default=0) >= len(rows):
                raise ConfigError(
                    f"{c.tokenizer_name_or_path} makes token {max(ids)} of the text, and the model has {len(rows)} "
                    "tokens: it is the tokenizer of another model"
                )
            ids = np.resize(np.array(ids, dtype=np.int64), shape[0])  # repeated or cut
        return {"prompt_embeddings": to_host(rows)[ids] * scale}

    def begin(self, context, batch_size):
        return replace(context, virtual=self.prompt.shape[0], front=repeat_rows(self.prompt, batch_size))


class PromptEncoderAdapter(PromptTuningAdapter):
    """P-tuning, as its file has it."""

    config_class = PromptEncoderConfig

    def start(self, model, generator):
        return {"prompt_embeddings": generator.standard_normal(self.prompt.shape)}

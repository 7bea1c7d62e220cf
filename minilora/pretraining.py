"""Pretraining from files to files: make a tokenizer and a small Llama, train it on plain text, save both.

`ml.pretrain(...)` in Python and `minilora pretrain` in a shell are this function.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

from .arguments import check_arguments
from .errors import ConfigError
from .files.atomic import write_json, write_text
from .files.shipped import shipped
from .models.llama import LlamaConfig, LlamaForCausalLM
from .text.batches import TextBatches, split_text, text_digest, text_windows, training_window
from .text.encoding import encode_text
from .text.examples import Paths, path_names, read_text
from .text.tokenizer import TextTokenizer, load_tokenizer
from .text.train_tokenizer import train_tokenizer
from .training.joining import check_files, check_same, join, own_device
from .training.optim import AdamW, cosine
from .training.resume import begin_run, check_same_data
from .training.run import Result, RunFolder, run_training


def pretrain(
    text: Paths = (),
    *,
    out: str | Path,
    tokenizer: str | Path | None = None,
    vocab: int = 1024,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    kv_heads: int = 2,
    mlp: int = 352,
    context: int = 512,
    length: int = 256,
    lr: float = 4e-3,
    steps: int | None = None,
    batch_size: int = 8,
    eval_every: int = 100,
    plot: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> Result:
    """Train a small Llama from scratch on plain text; without `text` the shipped base, on the shipped corpus.

    text        plain text files: one path or several; the last 5% of the text is held out for the validation loss
    out         a folder for the result: config.json, model.safetensors, the tokenizer, history.json and the state of
                the run, all saved every `eval_every` steps
    tokenizer   a tokenizer.json or its folder; None: one of at most `vocab` tokens is trained on the text (for the
                shipped corpus it is shipped)

    width, layers, heads, kv_heads, mlp     sizes of the Llama: hidden size, layers, query heads, key/value heads, width
                                            inside the MLP
    context     tokens that the model can read
    length      tokens of a training window
    lr          highest learning rate: AdamW; it rises for a tenth of the steps (at most 100), then falls as a cosine
    steps       None: 1,500, and 5,000 for the shipped corpus

    plot, resume, overwrite, seed, device, progress: as in `finetuning.finetune`. Returns the model, its history and the
    last step. Raises MiniloraError of a fitting kind for every mistake, TrainingError when the loss is not finite.
    """
    check_arguments(pretrain, locals())
    workers = join(device)
    first, place = workers.rank == 0, own_device(device, workers)
    out, text = Path(out), path_names(text)
    check_files(workers, text)
    steps = steps or (1500 if text else 5000)
    settings = {
        "command": "pretrain", "text": text, "tokenizer": None if tokenizer is None else str(tokenizer),
        "vocab": vocab, "width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads, "mlp": mlp,
        "context": context, "length": length, "lr": lr, "steps": steps, "batch_size": batch_size,
        "eval_every": eval_every, "plot": plot, "seed": seed, "device": device,
    }  # fmt: skip
    saved = begin_run(out, settings, adapter=False, resume=resume, overwrite=overwrite, writes=first)
    made = out if resume and text and tokenizer is None else tokenizer  # the one that this run has made
    words, train, held_out = read_corpus(text, made, vocab)
    digest = text_digest(train)
    check_same_data(digest, saved, out)

    model = new_model(settings, words).init([seed, 0]).to(place)
    window = training_window(train, context, length)
    batches = TextBatches(train, batch_size, window, np.random.default_rng([seed, 2]))
    valid = text_windows(held_out, window, batch_size)
    if not valid:
        warnings.warn("too little data to hold some out: there is no validation loss", stacklevel=2)

    def save_model():
        model.save_pretrained(out)
        write_text(out / "tokenizer.json", words.inner.to_str(pretty=True) + "\n")
        write_json(out / "tokenizer_config.json", tokenizer_config(words, context))

    check_same(workers, data=digest)
    if progress and first:
        print(
            f"{sum(p.size for p in model.parameters()):,} parameters, vocabulary {words.vocab_size}; "
            f"{len(train):,} tokens to train on, {len(held_out):,} held out",
            file=sys.stderr,
        )
    return run_training(
        model, batches, optimizer_for(model, lr), steps, schedule=cosine(steps, min(100, steps // 10)),
        rng=np.random.default_rng([seed, 1]), valid=valid, eval_every=eval_every,
        out=RunFolder(out, save_model, settings | {"digest": digest}, replace=overwrite),
        resume=resume, progress=progress, plot=plot, workers=workers,
    )  # fmt: skip


def read_corpus(text: list[str], tokenizer, vocab: int):  # -> TextTokenizer, ids to train on (N,), ids held out (M,)
    """The text files, their last part held out; the shipped corpus when there are none."""
    if not text:
        tokenizer = load_tokenizer(tokenizer or shipped("tokenizer.json"))
        parts = (read_text(shipped(name)) for name in ("corpus.txt", "corpus_valid.txt"))
        return tokenizer, *(encode_text(part, tokenizer) for part in parts)
    whole = read_text(text)
    tokenizer = load_tokenizer(tokenizer) if tokenizer else new_tokenizer(whole, vocab)
    return tokenizer, *split_text(encode_text(whole, tokenizer))


def new_tokenizer(text: str, vocab: int) -> TextTokenizer:
    from tokenizers import Tokenizer  # here: it is slow to load

    return TextTokenizer(Tokenizer.from_str(train_tokenizer(text.splitlines(keepends=True), vocab)))


def tokenizer_config(tokenizer: TextTokenizer, context: int) -> dict:
    """tokenizer_config.json for transformers: the class that takes tokenizer.json as it is, the end and padding tokens.

    Without it some versions take the class of the model's family, which adds tokens that this model does not have.
    """
    marks = {"eos_token": tokenizer.eos_id, "pad_token": tokenizer.pad_id}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **{name: tokenizer.inner.id_to_token(i) for name, i in marks.items() if i is not None},
    }


def new_model(settings: dict, tokenizer: TextTokenizer) -> LlamaForCausalLM:
    if settings["width"] % settings["heads"]:
        raise ConfigError(f"width {settings['width']} is not a multiple of heads {settings['heads']}")
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=settings["width"],
            intermediate_size=settings["mlp"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            num_key_value_heads=settings["kv_heads"],
            max_position_embeddings=settings["context"],
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=tokenizer.pad_id,
        )
    )


def optimizer_for(model, lr: float) -> AdamW:
    """AdamW that decays matrices only: the scale of a norm should not be pulled to zero."""
    matrices = [p for p in model.parameters() if len(p.shape) > 1]
    vectors = [p for p in model.parameters() if len(p.shape) == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=(0.9, 0.99))

"""`minilora pretrain`: a small Llama from scratch, on the shipped corpus or on a person's own text."""

import hashlib
from pathlib import Path

import click
import numpy as np

from ..errors import ConfigError
from ..files.atomic import write_json, write_text
from ..text.batches import split_text, text_windows, training_window
from .common import FilesCommand, check_out, device_option, overwrite_option, seed_option, text_option
from .running import check_same_data, fit, load_settings


@click.command(cls=FilesCommand)
@text_option
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the model goes.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="PATH", help="tokenizer.json; else one is made.")
@click.option("--vocab", default=1024, show_default=True, type=click.IntRange(300), help="Size of a trained tokenizer.")
@click.option("--width", default=128, show_default=True, type=click.IntRange(2), help="Hidden size.")
@click.option("--layers", default=4, show_default=True, type=click.IntRange(1))
@click.option("--heads", default=4, show_default=True, type=click.IntRange(1), help="Query heads.")
@click.option("--kv-heads", default=2, show_default=True, type=click.IntRange(1), help="Key/value heads.")
@click.option("--mlp", default=352, show_default=True, type=click.IntRange(1), help="Width inside the MLP.")
@click.option("--context", default=512, show_default=True, type=click.IntRange(16), help="Tokens the model can read.")
@click.option("--length", default=256, show_default=True, type=click.IntRange(16), help="Tokens of a training window.")
@click.option("--steps", type=click.IntRange(1), help="[default: 1500; 5000 for the shipped corpus]")
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1))
@click.option("--lr", default=4e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option("--eval-every", default=100, show_default=True, type=click.IntRange(1), help="Steps; also saves.")
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw the loss curve, loss.png.")
@click.option("--resume", is_flag=True, help="Go on with the run that was saved in --out.")
@overwrite_option
@seed_option
@device_option
@click.pass_context
def pretrain(ctx, out, resume, **options):
    """Train a small base model from scratch on plain text.

    Without --text: on the shipped corpus, with the tokenizer and the recipe of the shipped base.
    """
    check_out(out)
    settings = load_settings(ctx, resume, out) | {"command": "pretrain", "schedule": "cosine", "accumulate": 1}
    settings["steps"] = settings["steps"] or (1500 if settings["text"] else 5000)
    settings["warmup"] = min(100, settings["steps"] // 10)
    tokenizer, train_ids, valid_ids = read_corpus(settings, out)
    check_same_data(settings, hashlib.sha256(train_ids.tobytes()).hexdigest(), resume)

    from ..text.batches import TextBatches

    model = new_model(settings, tokenizer).init([settings["seed"], 0]).to(settings["device"])
    window = training_window(train_ids, settings["context"], settings["length"])
    batches = TextBatches(train_ids, settings["batch_size"], window, np.random.default_rng([settings["seed"], 2]))
    valid = text_windows(valid_ids, window, settings["batch_size"])
    click.echo(
        f"{sum(p.size for p in model.parameters()):,} parameters, vocabulary {tokenizer.vocab_size}; "
        f"{len(train_ids):,} tokens to train on, {len(valid_ids):,} held out"
    )

    def save_model():
        model.save_pretrained(out)
        write_text(out / "tokenizer.json", tokenizer.inner.to_str(pretty=True) + "\n")
        write_json(out / "tokenizer_config.json", tokenizer_settings(tokenizer, settings["context"]))

    fit(model, optimizer_for(model, settings["lr"]), batches, valid, settings, out, save_model)


def read_corpus(settings, out):  # -> TextTokenizer, training ids (N,), validation ids (M,)
    """The person's text, its last part held out, or the shipped corpus."""
    from ..files.shipped import shipped
    from ..text.encoding import encode_text
    from ..text.examples import read_text
    from ..text.tokenizer import TextTokenizer, load_tokenizer

    if not settings["text"]:
        tokenizer = load_tokenizer(settings["tokenizer"] or shipped("tokenizer.json"))
        parts = (read_text(shipped("corpus.txt")), read_text(shipped("corpus_valid.txt")))
        return tokenizer, *(encode_text(text, tokenizer) for text in parts)
    text = read_text(settings["text"])
    if settings["tokenizer"]:
        tokenizer = load_tokenizer(settings["tokenizer"])
    elif settings["resume"]:
        tokenizer = load_tokenizer(out)
    else:
        from tokenizers import Tokenizer

        from ..text.train_tokenizer import train_tokenizer

        made = train_tokenizer(text.splitlines(keepends=True), settings["vocab"])
        tokenizer = TextTokenizer(Tokenizer.from_str(made))
    return tokenizer, *split_text(encode_text(text, tokenizer))


def tokenizer_settings(tokenizer, context):  # -> dict
    """What transformers wants to know beside tokenizer.json: the class that takes that file as it is, end and padding.

    Without it some versions take the class of the model's family, which adds tokens that this model does not have.
    """
    marks = {"eos_token": tokenizer.eos_id, "pad_token": tokenizer.pad_id}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **{name: tokenizer.inner.id_to_token(i) for name, i in marks.items() if i is not None},
    }


def new_model(settings, tokenizer):
    from ..models.llama import LlamaConfig, LlamaForCausalLM

    if settings["width"] % settings["heads"]:
        raise ConfigError(f"--width {settings['width']} cannot be shared by --heads {settings['heads']} evenly")
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


def optimizer_for(model, lr):
    """Weight decay on matrices only: a norm's scale or a bias has no reason to be pulled to zero."""
    from ..training.optim import AdamW

    matrices = [p for p in model.parameters() if len(p.shape) > 1]
    vectors = [p for p in model.parameters() if len(p.shape) == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=(0.9, 0.99))

"""Fine-tuning from files to files: load a base and data, add an adapter, train, evaluate, save.

`ml.finetune(...)` in Python and `minilora train` in a shell are this function.
"""

import inspect
import math
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .adapters.files import read_adapter_config
from .adapters.model import PeftModel
from .adapters.registry import NAMES, name_of
from .arguments import check_arguments
from .errors import ConfigError, UnknownNameError, counted, nearest
from .files.atomic import same_place
from .files.hub import adapter_folder
from .finetuning_adapter import FIELDS, add_adapter, note_other_form, parts_for, saver, unused_settings
from .finetuning_data import kind_of_files, read_data
from .finetuning_start import show_start
from .finetuning_teacher import load_teacher
from .methods.lora import LoraConfig
from .methods.lora_plus import loraplus_groups
from .methods.vera import VeraConfig
from .models.pretrained import base_folder, load_base, storage_named
from .text.examples import Paths, check_one_source, path_names
from .text.forms import pair_encoder
from .training.card import write_card
from .training.copies import Copies, check_copies
from .training.distillation import Distillation, check_distillation
from .training.joining import check_files, check_same, join, own_device
from .training.loop import own_loss
from .training.optim import AdamW, schedule_named
from .training.precision import precision_named
from .training.resume import begin_run, check_same_data, check_same_run, trained
from .training.run import Result, RunFolder, run_training

# Default learning rate of a method times the hidden size: wider models need smaller steps. 0.96 is 7.5e-3 at width 128.
RATE_TIMES_WIDTH = {
    "lora": 0.96,
    "dora": 0.96,
    "pissa": 0.384,
    "olora": 0.384,
    "lora_plus": 0.24,  # of A; B's is lr_ratio times as high
    "adalora": 1.92,
    "vera": 3.84,
    "ia3": 12.8,
    "prefix_tuning": 12.8,
    "prompt_tuning": 12.8,
    "full": 0.128,
}
KEPT, TURNS = ("last", "best"), ("last", "all")
OWN = {"rank": "r", "alpha": "lora_alpha", "targets": "target_modules", "dropout": "lora_dropout"}
# full fine-tuning ignores these, and so does an adapter that goes on
OF_AN_ADAPTER = ("rank", "alpha", "targets", "dropout", "lr_ratio", "virtual_tokens", *FIELDS)


def finetune(
    base: str | Path | None = None,
    *,
    files: Paths = (),
    task: str | None = None,
    text: Paths = (),
    jsonl: Paths = (),
    examples: Sequence[dict] | None = None,
    valid: Paths = (),
    chat: bool = False,
    turns: str = "last",
    max_length: int | None = None,
    out: str | Path | None = None,
    adapter: str | Path | None = None,
    method: str = "lora",
    rank: int | None = None,
    alpha: float = LoraConfig.lora_alpha,
    targets: str | list[str] = "all-linear",
    dropout: float = 0.0,
    rslora: bool = False,
    init: str | None = None,
    exclude: str | list[str] | None = None,
    layers: list[int] | None = None,
    modules_to_save: list[str] | None = None,
    rank_pattern: dict | None = None,
    alpha_pattern: dict | None = None,
    lora_bias: bool = False,
    trainable_tokens: list[int] | None = None,
    lr_ratio: float = 16.0,
    virtual_tokens: int = 20,
    lr: float | None = None,
    weight_decay: float = 0.01,
    max_grad_norm: float = 1.0,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    steps: int = 200,
    epochs: float | None = None,
    batch_size: int = 16,
    accumulate: int = 1,
    schedule: str = "cosine",
    warmup: int = 10,
    warmup_ratio: float | None = None,
    eval_every: int = 25,
    save_total_limit: int | None = None,
    keep: str = "last",
    patience: int | None = None,
    teacher: str | None = None,
    temperature: float = 2.0,
    mix: float = 1.0,
    precision: str = "float32",
    quantize: str | None = None,
    checkpointing: bool = False,
    chunked_loss: bool = False,
    plot: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> Result:
    """Fine-tune a base on a shipped task, on texts, or on pairs of prompt and response.

    >>> import minilora as ml
    >>> pairs = [{"prompt": f"Where is boat {n}?", "response": "Ahoy! At sea."} for n in range(40)]
    >>> result = ml.finetune(examples=pairs, rank=4, steps=20, batch_size=4, progress=False)
    >>> result.history.valid[-1][1] < 0.1 * result.history.valid[0][1]      # [step, loss] on pairs that were held out
    True
    >>> result.model.active_adapters
    ['default']

    base        folder of a model, or its name on the hub; None: the shipped base

    Exactly one of these is the data.
    files       one path or several, read as `jsonl` when they end in .jsonl or .json, as `text` when in .txt
    task        name of a shipped task
    text        plain text files: one path or several
    jsonl       files of {"prompt": ..., "response": ...} or {"messages": [...]}, one a line: one path or several
    examples    the same as Python dicts
    valid       files of the same kind for the validation loss; without: a task's "valid" split, or 5% of other data
    turns       "all": every answer of a conversation is learned, each after all before it, unless its message has
                "weight": 0; "last": the last answer
    max_length  cut longer rows to so many tokens, instead of refusing them; of a text, the length of a window (128)
    chat        write pairs in the base's chat template, not as the prompt, a line break and the response

    adapter     folder of an adapter, or its name on the hub; it goes on on this data, with its settings and its base
                (unless `base` is given)
    method      "lora", "dora", "pissa", "olora", "lora_plus", "adalora", "vera", "ia3", "prefix_tuning",
                "prompt_tuning"; or "full": train every weight of the base
    rank        r; the update is alpha / r · B A. None: 8, and 256 for "vera". "adalora" starts with half as many more
    alpha       the same default as LoraConfig, so as PEFT
    targets     names, a regular expression for whole paths, or "all-linear"
    dropout     probability, on the input of the adapter
    rslora      scale by alpha / √r
    init        init_lora_weights of LoraConfig: "gaussian", "pissa", "olora", ...; None: the method's own
    exclude     names, or a regular expression for whole paths, of layers to leave out of `targets`
    layers      indices of the blocks to adapt; None: all
    modules_to_save  names of modules that are trained in full and saved beside the adapter
    rank_pattern, alpha_pattern  {name or regular expression: its own r, or alpha}, as in LoraConfig
    lora_bias, trainable_tokens  a bias of B; numbers of tokens whose rows of the embedding are trained too
    lr_ratio    "lora_plus": learning rate of B over that of A
    virtual_tokens  "prefix_tuning" and "prompt_tuning": places in front of every sequence
    lr          learning rate; None: the method's number in RATE_TIMES_WIDTH / hidden size
    weight_decay, adam_beta1, adam_beta2  of AdamW
    max_grad_norm  bound on the global norm of the gradients
    batch_size  of all workers together: a script under `mpiexec` shares the rows of every batch (see docs/parallel.md)
    steps       optimizer steps, of `accumulate` batches of `batch_size` examples (or windows of at most 128 tokens)
    epochs      passes over the data, instead of `steps`; a part of a pass is allowed
    schedule    "cosine", "linear" or "constant", after `warmup` steps in which the learning rate rises
    warmup_ratio  these steps as a part of all, instead of `warmup`; rounded up
    keep        "best": the result has the weights with the lowest validation loss; "last": those of the last step, as
                in PEFT's examples (a few held-out rows measure it only roughly)
    patience    stop after so many evaluations in a row without a lower validation loss; None: never
    teacher     BASE, ADAPTER or BASE+ADAPTER (folders): learn its probabilities, see training/distillation.py
    temperature  of both models' probabilities, with a teacher
    mix         the teacher's part of the loss, 0 to 1; the rest is the labels'
    precision   "float16" or "bfloat16": compute in 16 bits, with float32 masters; on a CPU the values of the hardware
    quantize    keep the base in fewer bits: "nf4" (4 bits with double quantization: QLoRA), "int8", "bf16" or "fp16"
    checkpointing  compute every block again in the backward: less memory, a third more work, the same bits
    chunked_loss  never hold the logits of all positions, also of a head that is trained: less memory, equal to rounding
    seed        of the adapter's start, the order of the examples and dropout

    out         a folder for the result: the adapter in PEFT's format with a model card (method "full": the model),
                history.json, history.csv and the state of the run, all saved every `eval_every` steps. None: nothing
    save_total_limit  keep the last so many of these adapters too, each in `out`/checkpoint-STEP
    plot        draw the losses into loss.png in `out`
    resume      go on with the run in `out`; only steps, eval_every, patience, checkpointing, device and plot may change
    overwrite   replace the run in `out`
    progress    show rows, passes and learning rate at the start, then loss, speed and time left, on standard error

    Returns the model (a PeftModel; with method "full" the base itself), the history and the last step. With `out` the
    first Ctrl-C saves the run and returns; `interrupted` is then True. Raises MiniloraError of a fitting kind for every
    mistake; TrainingError when the loss is not finite.
    """
    check_arguments(finetune, locals())
    workers = join(device)
    first, place = workers.rank == 0, own_device(device, workers)
    if rank is None and adapter is None and method in NAMES and "rank" not in unused_settings(method):
        rank = VeraConfig.r if method == "vera" else LoraConfig.r
    if files:
        check_one_source({"files": files, "task": task, "text": text, "jsonl": jsonl, "examples": examples})
        text, jsonl = (files, ()) if kind_of_files(files) == "text" else ((), files)
    settings = {
        "command": "train", "base": None if base is None else str(base), "task": task, "text": path_names(text),
        "jsonl": path_names(jsonl), "examples": None if examples is None else len(examples), "chat": chat,
        "adapter": None if adapter is None else str(adapter), "turns": turns, "max_length": max_length, "keep": keep,
        "patience": patience, "teacher": teacher, "temperature": temperature, "mix": mix, "quantize": quantize,
        "precision": precision, "checkpointing": checkpointing, "chunked_loss": chunked_loss, "method": method,
        "rank": rank, "alpha": alpha, "targets": targets, "dropout": dropout, "rslora": rslora, "init": init,
        "exclude": exclude, "layers": layers, "modules_to_save": modules_to_save, "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern, "lora_bias": lora_bias, "trainable_tokens": trainable_tokens,
        "lr_ratio": lr_ratio, "virtual_tokens": virtual_tokens, "lr": lr, "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm, "adam_beta1": adam_beta1, "adam_beta2": adam_beta2, "warmup": warmup,
        "warmup_ratio": warmup_ratio, "save_total_limit": save_total_limit, "valid": path_names(valid),
        "steps": steps if epochs is None else sys.maxsize, "batch_size": batch_size, "accumulate": accumulate,
        "schedule": schedule, "eval_every": eval_every, "plot": plot, "seed": seed, "device": device,
    }  # fmt: skip
    if save_total_limit is not None:
        if out is None:
            raise ConfigError("save_total_limit needs out, a folder")
        check_copies(Path(out), save_total_limit, resume or overwrite)
    check_files(workers, settings["text"] + settings["jsonl"] + settings["valid"])
    saved = begin_run(out, settings, method != "full", resume, overwrite, first)
    check_settings(settings)
    if adapter is not None:
        adapter = adapter_folder(adapter)
        config: Any = read_adapter_config(adapter)
        base = config.base_model_name_or_path if base is None else base
        method = name_of(config) if method == "lora" else method
        virtual_tokens = getattr(config, "num_virtual_tokens", 0)
    folder = base_folder(base)
    if adapter is not None and out is not None and same_place(out, adapter):
        raise ConfigError(f"{out} is the adapter that goes on; choose another folder for the result")
    if out is not None and same_place(out, folder):
        raise ConfigError(f"{out} is the base itself; choose another folder for the result")
    parts = partial(parts_for, settings) if adapter is None else None  # of PiSSA and OLoRA on a quantized base
    model, tokenizer = load_base(base, place, quantize, parts)
    model.chunked_loss = chunked_loss
    context = model.context_length - (virtual_tokens if method in ("prefix_tuning", "prompt_tuning") else 0)
    if context < 2:
        what = "the base" if context == model.context_length else f"virtual_tokens {virtual_tokens}"
        raise ConfigError(f"{what} leaves no room for text in a context of {counted(model.context_length, 'token')}")
    width = model.config.hidden_size
    asked = [folder] if adapter is None else [Path(adapter), folder]  # where the chat template is
    encode = pair_encoder("chat" if chat else "framed", *asked)
    data = read_data(settings, examples, tokenizer, encode, context)
    check_same_data(data.digest, saved, out)
    rows_a_step = batch_size * accumulate
    if epochs is not None:
        settings["steps"] = steps = data.steps(epochs, rows_a_step)
        if saved and out is not None:
            check_same_run(Path(out), settings)  # now that the number of steps is known
    if not data.valid and (keep == "best" or patience):
        raise ConfigError("keep best and patience need a validation loss; name a file with valid, or give more data")
    if not data.valid:
        warnings.warn("too little data to hold some out: there is no validation loss", stacklevel=2)
    if adapter is not None:
        note_other_form(Path(adapter), settings)
        model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    elif method != "full":
        model = add_adapter(model, settings)
    if checkpointing:
        model.gradient_checkpointing_enable()
    loss_of = own_loss
    if teacher is not None:
        loss_of = Distillation(load_teacher(teacher, model, tokenizer, place), temperature, mix)
    if lr is None and saved:
        lr = saved["lr"]
    rate = RATE_TIMES_WIDTH[method] / width if lr is None else lr
    save = saver(model, method, chat, *asked)
    settings |= {"lr": rate, "digest": data.digest, "system": data.system, "workers": workers.size}
    groups: list = [p for _, p in trained(model)]
    if method == "lora_plus":
        groups = loraplus_groups(model, rate, lr_ratio, rate, weight_decay)
    optimizer = AdamW(groups, rate, (adam_beta1, adam_beta2), weight_decay=weight_decay)
    warmup = warmup if warmup_ratio is None else math.ceil(warmup_ratio * steps)
    rate_schedule = schedule_named(schedule, steps, warmup)
    count = sum(p.size for p in optimizer.params)
    result = None
    if out is not None:
        name = None if folder == base_folder() else str(base)
        config = getattr(model, "peft_config", {}).get("default")  # also of an adapter that goes on
        own = {name: getattr(config, field, None) for name, field in OWN.items()}
        describe = partial(write_card, Path(out), name, settings | {"method": method} | own, count)
        result = RunFolder(Path(out), partial(save, out), settings, None if method == "full" else describe, overwrite)
    fingerprint = model.base_model.fingerprint() if isinstance(model, PeftModel) else ""
    check_same(workers, data=data.digest, base=fingerprint)
    show_start(settings, data, model, folder, count, progress and first, workers)
    copies = []
    if out is not None and save_total_limit and first:
        copies = [Copies(Path(out), save, eval_every, save_total_limit, resume)]
    return run_training(
        model, data.batches, optimizer, steps, schedule=rate_schedule, accumulate=accumulate, max_norm=max_grad_norm,
        rng=np.random.default_rng([seed, 1]), valid=data.valid, eval_every=eval_every,
        out=result, resume=resume, progress=progress, plot=plot, keep_best=keep == "best", patience=patience,
        precision=precision, loss_of=loss_of, callbacks=copies, workers=workers,
    )  # fmt: skip


def check_settings(settings: dict) -> None:
    """Raises ConfigError or UnknownNameError for settings that contradict each other, before any file is read."""
    check_one_source({name: settings[name] for name in ("task", "text", "jsonl", "examples")})
    if settings["chat"] and (settings["task"] or settings["text"]):
        raise ConfigError("chat goes with jsonl or examples: plain text and the shipped tasks have their own form")
    if not (math.isfinite(settings["max_grad_norm"]) and settings["max_grad_norm"] > 0):
        raise ConfigError(f"max_grad_norm = {settings['max_grad_norm']}: expected a number above 0")
    if settings["max_length"] is not None and (settings["max_length"] < 2 or settings["task"]):
        raise ConfigError(f"max_length {settings['max_length']}: expected at least 2, and not with a shipped task")
    for name in ("adam_beta1", "adam_beta2"):
        if not 0 <= settings[name] < 1:
            raise ConfigError(f"{name} = {settings[name]}: expected 0 or more, and less than 1")
    ratio = settings["warmup_ratio"]
    if ratio is not None and not 0 <= ratio <= 1:
        raise ConfigError(f"warmup_ratio = {ratio}: expected 0 to 1")
    if settings["method"] not in RATE_TIMES_WIDTH:
        near = nearest(settings["method"], RATE_TIMES_WIDTH)
        raise UnknownNameError(f"no method {settings['method']!r}; there are: {near}")
    precision_named(settings["precision"])
    check_distillation(settings["temperature"], settings["mix"])
    if settings["teacher"] and settings["chunked_loss"]:
        raise ConfigError("a teacher needs the logits of all labels; leave out chunked_loss")
    storage_named(settings["quantize"])
    if settings["quantize"] and settings["method"] == "full":
        raise ConfigError(f"quantize {settings['quantize']} freezes the base; train an adapter, not method full")
    for name, known in (("keep", KEPT), ("turns", TURNS)):
        if settings[name] not in known:
            raise UnknownNameError(f"{name} {settings[name]!r}: expected {' or '.join(known)}")
    if settings["patience"] is not None and settings["patience"] < 1:
        raise ConfigError(f"patience {settings['patience']}: expected at least 1")
    if settings["adapter"] and settings["method"] not in ("lora", "lora_plus"):
        raise ConfigError(f"the adapter {settings['adapter']} has its own method; leave out {settings['method']}")
    ignored = {} if settings["teacher"] else dict.fromkeys(("temperature", "mix"), "there is no teacher")
    if settings["adapter"]:
        ignored |= dict.fromkeys(OF_AN_ADAPTER, "the adapter has its own")
        if settings["method"] == "lora_plus":
            del ignored["lr_ratio"]
    elif settings["method"] == "full":
        ignored |= dict.fromkeys(OF_AN_ADAPTER, "full fine-tuning has no adapter")
    else:
        unused = unused_settings(settings["method"])
        ignored |= dict.fromkeys(unused, f"the method {settings['method']} has no use for it")
        if settings["alpha"] == 0 and "alpha" not in unused:
            raise ConfigError("alpha 0 multiplies every update by 0: nothing would be learned")
    defaults = inspect.signature(finetune).parameters
    for name, why in ignored.items():
        if settings[name] != defaults[name].default:
            warnings.warn(f"{name} is ignored: {why}", stacklevel=3)

"""`minilora generate`: what a base, with any adapters, writes after a prompt."""

import sys
from pathlib import Path

import click

from ..errors import ConfigError, DataError, MiniloraError
from .common import adapter_option, base_option, device_option, seed_option, with_adapters

BATCH = 64  # prompts at once; their keys and values are kept for every token
NEW_TOKENS = 128  # unless said otherwise, and fewer when the context is nearly full


@click.command()
@base_option
@adapter_option
@click.option("--prompt", multiple=True, metavar="TEXT", help="What to continue; several times for several prompts.")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Prompts, one a line; else from stdin.")
@click.option("--task", metavar="NAME", help="Ask as this shipped task does.")
@click.option("--framed", is_flag=True, help="Ask as `train --jsonl` does: the prompt, a line break, then the answer.")
@click.option("--chat", is_flag=True, help="The prompt is a user's message: ask in the base's chat template.")
@click.option("--max-new-tokens", type=click.IntRange(1), help=f"[default: {NEW_TOKENS}, a task's own, or what fits]")
@click.option("--temperature", default=0.0, show_default=True, help="0: the likeliest token each time; above: sample.")
@click.option("--top-k", type=int, help="Sample among the k likeliest tokens only.")
@click.option("--top-p", type=float, help="Sample among the likeliest tokens whose probabilities reach p.")
@seed_option
@device_option
def generate(base, adapter, prompt, file, task, framed, chat, max_new_tokens, temperature, top_k, top_p, seed, device):
    """Continue prompts, with a base and any adapters.

    Prints what the model wrote and nothing else; with several prompts, each one stands above its own between arrows.
    """
    from ..models.pretrained import base_folder, load_base

    check_options(task, framed, chat, temperature, top_k, top_p)
    prompts = read_prompts(prompt, file)
    if task:
        from ..tasks.shipped import get_task

        max_new_tokens = max_new_tokens or get_task(task).max_new_tokens
    folder = base_folder(base)
    model, tokenizer = load_base(base, device)
    model = with_adapters(model, adapter)
    if not (task or framed or chat):
        hint_at_the_frame(adapter)
    encode = encoder(tokenizer, folder, framed or bool(task), chat)
    ids = [encode(p) for p in prompts]
    count = room(ids, model.config.max_position_embeddings, max_new_tokens)
    ends = stop_tokens(model.config, tokenizer, folder) or None
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        own = seed + (start << 32)  # a row's random stream is its place in the batch and this
        rows = model.generate(
            batch, count, temperature=temperature, top_k=top_k, top_p=top_p, seed=own, eos_token_id=ends
        )
        for i, (before, row) in enumerate(zip(batch, rows, strict=True), start=start):
            if len(prompts) > 1:
                print(("\n" if i else "") + f"==> {' '.join(prompts[i].split())} <==")
            print(written(tokenizer, before, row))  # click.echo would write UTF-8 where only ASCII can be shown


def hint_at_the_frame(adapters):
    """One line when an adapter was trained here on prompts in a frame: asked otherwise, it answers worse."""
    from ..files.atomic import read_json
    from ..tasks.shipped import TASKS

    for folder in adapters:
        try:
            settings = read_json(Path(folder) / "history.json").get("settings")
        except MiniloraError:  # none there, or damaged: nothing that generating needs
            continue
        if not isinstance(settings, dict):
            continue
        if settings.get("task") in list(TASKS):  # a list: what stands in a file may have no hash
            how = f"--task {settings['task']}"
        elif settings.get("jsonl"):
            how = "--chat" if settings.get("chat") else "--framed"
        else:
            continue
        click.echo(f"note: {folder} was trained on prompts in a frame: ask with {how}", err=True)


def check_options(task, framed, chat, temperature, top_k, top_p):
    """Raises ConfigError for options that contradict each other."""
    given = [name for name, value in (("--task", task), ("--framed", framed), ("--chat", chat)) if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: expected one of them at most, each is another way to ask")
    useless = [name for name, value in (("--top-k", top_k), ("--top-p", top_p)) if value is not None]
    if useless and temperature == 0:
        raise ConfigError(f"{useless[0]} has no effect at temperature 0; expected --temperature above 0 with it")


def read_prompts(given, file):  # -> list of str
    """The prompts of --prompt, or the lines of --file or of standard input; empty lines are left out.

    Raises ConfigError when both are given, DataError when there is none or one of --prompt is empty.
    """
    if given and file is not None:
        raise ConfigError("--prompt and --file are both given, expected one of them")
    if given:
        if not all(p.strip() for p in given):
            raise DataError("--prompt is empty, expected text to continue")
        if any("\ud800" <= c <= "\udfff" for p in given for c in p):
            raise DataError("--prompt is not UTF-8 text")
        return list(given)
    if file is not None:
        from ..text.examples import read_text

        return _lines(read_text(file), file)
    if sys.stdin.isatty():
        raise ConfigError("no prompt; expected --prompt TEXT, --file FILE or text on standard input")
    try:
        return _lines(sys.stdin.buffer.read().decode("utf-8-sig"), "standard input")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _lines(text, where):
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{where} is empty, expected a prompt on each line")
    return lines


def encoder(tokenizer, folder, framed, chat):  # -> function: str -> list of ids
    """How a prompt becomes tokens: in the frame of the tasks, as a user's message, or as plain text.

    Plain text and a frame get what tokenizer.json puts in front of every text (the BOS of many models); a chat template
    says for itself what belongs there.
    """
    if framed:
        from ..text.encoding import encode_prompt

        return lambda prompt: encode_prompt(prompt, tokenizer)
    if chat:
        from ..text.chat_template import ChatTemplate

        template = ChatTemplate.from_folder(folder)
        return lambda prompt: template.encode([{"role": "user", "content": prompt}], tokenizer)
    return lambda prompt: tokenizer.inner.encode(prompt).ids


def room(ids, context, asked):  # list of lists, tokens, tokens or None -> new tokens
    """How many tokens may be written after every prompt. Raises DataError when the context cannot hold them."""
    longest = max(len(i) for i in ids)
    left = context - longest
    if left < (asked or 1):
        number = next(n for n, i in enumerate(ids, start=1) if len(i) == longest)
        raise DataError(
            f"prompt {number} has {longest} tokens, which leaves {max(left, 0)} of the context of {context} tokens; "
            f"expected room for {asked or 1} new ones"
        )
    return asked or min(NEW_TOKENS, left)


def stop_tokens(config, tokenizer, folder):  # -> list of ids
    """Whatever ends a text: as config.json, generation_config.json and the tokenizer have it (they often differ)."""
    from ..files.atomic import read_json

    file = Path(folder) / "generation_config.json"
    said = read_json(file).get("eos_token_id") if file.is_file() else None
    found = []
    for ids in (config.eos_token_id, said, tokenizer.eos_id):
        found += ids if isinstance(ids, list) else [ids]
    return sorted({i for i in found if isinstance(i, int)})


def written(tokenizer, prompt_ids, row):  # list of ids, (T,) -> str
    """The text after the prompt. Decoded together with it: some tokenizers drop the space before a first word."""
    before, whole = tokenizer.decode(prompt_ids), tokenizer.decode(row)
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(row[len(prompt_ids) :])

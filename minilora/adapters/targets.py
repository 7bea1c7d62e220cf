"""Which modules of a model an adapter is put on. PEFT's rules, for every method, for models that run or are counted."""

import re
import warnings
from dataclasses import replace

from ..errors import ConfigError, nearest, shortened
from ..files import patterns
from ..methods.lora import first_match

NAME = r"\w+(?:\.\w+)*"  # a module, or the end of its path
HEAD = "lm_head"  # the one linear layer that "all-linear" leaves out
NOTED = 5  # names that match nothing: each has a warning; a file may have a million


def as_target_modules(targets: str) -> list | str:
    """What a person typed, as LoraConfig and PEFT take it.

    Comma-separated names give a list, even a single name; a name may be the end of a path, as attn.c_proj. Any other
    character means a regular expression that must match the whole path; "all-linear" is reserved. Raises ConfigError
    when nothing is named, or for names that are separated in another way.
    """
    if not targets.strip():
        raise ConfigError("no target is named; expected names like q_proj,v_proj, a regular expression or all-linear")
    names = [name.strip() for name in targets.split(",")]
    if all(re.fullmatch(NAME, name) for name in names):
        return names
    bare = re.sub(r"""[][(){}'";,\s]+""", " ", targets).split()
    if bare and re.search(r"""[]['"; ]""", targets.strip()) and all(re.fullmatch(NAME, name) for name in bare):
        raise ConfigError(f"targets {targets!r}: write {','.join(bare)}")
    return targets


def names_match(names, path: str) -> bool:
    """Whether a regular expression matches the whole path, or one name of a list is the path or its ending."""
    if isinstance(names, str):
        return patterns.fullmatch(names, path) is not None
    return any(ending in names for ending in endings(path))


def endings(path: str) -> list[str]:
    """The path, and what is left of it without its first names: "a.b" -> ["a.b", "b"]."""
    parts = path.split(".")
    return [".".join(parts[n:]) for n in range(len(parts))]


def unmatched(names, paths) -> list[str]:
    """The names of a list, or the one regular expression, that match none of `paths`."""
    if isinstance(names, str):
        return [] if any(names_match(names, path) for path in paths) else [names]
    found = {ending for path in paths for ending in endings(path)}
    return [name for name in names if name not in found]


def warn_of_unmatched(field: str, names: list[str], what: str, known: list[str], stacklevel: int) -> None:
    """Warn of each name of a configuration's field that matches nothing, and beyond NOTED names of how many more."""
    for name in names[:NOTED]:
        warnings.warn(f"{field} {shortened(name)!r} matches no {what}: {nearest(name, known)}", stacklevel=stacklevel)
    if len(names) > NOTED:
        warnings.warn(f"{field}: {len(names) - NOTED:,} more names match no {what}", stacklevel=stacklevel)


def match_targets(config, paths, linear) -> list:
    """The paths that `config` adapts, in order. paths: all modules of a model; linear: its linear layers.

    "all-linear" must be spelled out before (`spell_out`). Raises ConfigError when nothing matches, with the nearest
    names of linear layers.
    """
    targets = config.target_modules
    matched = [p for p in paths if names_match(targets, p)]
    if not matched:
        name = targets if isinstance(targets, str) else targets[0]
        hint = f" (a regular expression for the whole path; a name is [{name!r}])" if name is targets else ""
        near = nearest(name, leaves(linear))
        raise ConfigError(f"no module matches target_modules {targets!r}{hint}; the model has: {near}")
    left_out = [names for names in (getattr(config, "exclude_modules", None), config.modules_to_save) if names]
    chosen = [p for p in matched if _layer_is_chosen(config, p) and not any(names_match(n, p) for n in left_out)]
    if not chosen:
        raise ConfigError(
            f"all {len(matched)} modules that match target_modules {targets!r} are left out again, by "
            "exclude_modules, modules_to_save or layers_to_transform"
        )
    return chosen


def spell_out(config, paths, linear, model_config):
    """The config of a new adapter with its targets as a list of names, as PEFT stores them.

    None becomes PEFT's default for the model, "all-linear" every linear layer but the head. Raises ConfigError for a
    name that matches no module.
    """
    config = config.with_defaults(model_config)
    targets = config.target_modules
    if isinstance(targets, list):
        for target in targets:
            if not any(names_match([target], p) for p in paths):
                near = nearest(target, leaves(linear))
                raise ConfigError(f"no module matches target {target!r}; the model has: {near}")
    return spell_out_all_linear(config, paths, linear)


def spell_out_all_linear(config, paths, linear):
    """The config with "all-linear" replaced by names. Raises ConfigError when the targets are empty."""
    targets = config.target_modules
    if not targets:
        raise ConfigError(f"target_modules is empty; this model has: {nearest('', leaves(linear))}")
    if not (isinstance(targets, str) and targets.lower() == "all-linear"):
        return config
    everything = [p for p in linear if p != HEAD and not p.endswith("." + HEAD)]
    short = leaves(everything)  # the names alone, when they choose the same
    same = [p for p in paths if names_match(short, p)] == everything
    return replace(config, target_modules=short if same else everything)


def row_places(config, places, embedding, is_tied) -> list:
    """Where `config.trainable_token_indices` trains rows, as PEFT reads it.

    A list means the input embedding; {name: list} every embedding and head whose path ends with the name. A head that
    shares the embedding's weight reads the embedding's rows, unless the configuration gives it other tokens.
    places: {path: Place} of embeddings and the head; embedding: path of the input embedding. Raises ConfigError.
    """
    given = getattr(config, "trainable_token_indices", None) or {}
    chosen = {}  # path -> tokens
    for name, tokens in ({embedding: given} if isinstance(given, list) else given).items():
        paths = [p for p in places if p.endswith(name)]
        if not paths:
            near = nearest(name, leaves(places))
            raise ConfigError(f"trainable_token_indices: {name!r} is no embedding or head; the model has: {near}")
        for path in paths:
            if max(tokens) >= (rows := places[path].shape[0]):
                raise ConfigError(f"trainable_token_indices: token {max(tokens)} is outside the {rows} rows of {path}")
            chosen.setdefault(path, tokens)
    kinds = {path: f"{'embedding' if places[path].kind == 'embedding' else 'head'} rows" for path in chosen}
    for path, place in places.items():
        if is_tied and embedding in chosen and place.kind != "embedding":
            if chosen.get(path, chosen[embedding]) == chosen[embedding]:
                kinds[path] = "tied head rows"
    return [places[p]._replace(kind=kind) for p, kind in sorted(kinds.items(), key=lambda item: item[0] != embedding)]


def leaves(paths) -> list:
    """The last names: "q_proj" of "model.layers.0.self_attn.q_proj"; each once."""
    return sorted({p.rpartition(".")[2] for p in paths})


def _layer_is_chosen(config, path):
    """Whether the layer index in `path` is one of layers_to_transform; a target that is a whole path needs no index."""
    wanted = getattr(config, "layers_to_transform", None)
    if wanted is None or wanted == [] or path in config.target_modules:
        return True
    names = config.layers_pattern or []
    lists = [rf"(?:^|.*?\.){n}\.(?P<idx>\d+)\." for n in ([names] if isinstance(names, str) else names)]
    match = next((m for p in lists or [r".*?\.[^.]*\.(?P<idx>\d+)\."] if (m := patterns.match(p, path))), None)
    return match is not None and int(match["idx"]) in ([wanted] if isinstance(wanted, int) else wanted)


def warn_of_settings_without_effect(config, adapted: list[str], modules, stacklevel: int) -> None:
    """Warn of each pattern of a rank or alpha, and of each excluded name, that matches nothing.

    adapted: the paths of the adapted modules; modules: the paths of all.
    """
    for field in ("rank_pattern", "alpha_pattern") if hasattr(config, "rank") else ():  # AdaLoRA's is no pattern
        patterns_of = {key: key.removesuffix(".lora_E") for key in getattr(config, field, None) or {}}  # its tensors
        lost = [k for k, pattern in patterns_of.items() if not any(first_match({pattern: 1}, p, 0) for p in adapted)]
        warn_of_unmatched(field, lost, "adapted module", leaves(adapted), stacklevel + 1)
    lost = unmatched(getattr(config, "exclude_modules", None) or [], modules)
    warn_of_unmatched("exclude_modules", lost, "module", leaves(modules), stacklevel + 1)

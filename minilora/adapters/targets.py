"""LoraConfig: PEFT's names and meaning, which modules it chooses, and the one place where the scale is computed."""

import re

from ..errors import ConfigError, nearest


def as_target_modules(targets):  # str -> list or str, as LoraConfig and PEFT take them
    """Plain names joined by commas are a list, even one; any other character makes it a regular expression for the
    whole path; "all-linear" is reserved. Raises ConfigError when nothing is named."""
    if not targets.strip():
        raise ConfigError("no target is named; expected names like q_proj,v_proj, a regular expression or all-linear")
    names = [name.strip() for name in targets.split(",")]
    return names if all(re.fullmatch(r"\w+", name) for name in names) else targets


def names_match(names, path):
    """`names` a regular expression for the whole path, or a list of which one is the path or its ending."""
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(path == n or path.endswith("." + n) for n in names)


def chosen_modules(config, paths, linear):
    """The paths, of all modules of a model, that `config` adapts, in order ("all-linear" is written out before).

    Raises ConfigError when nothing matches, with the nearest names of the `linear` layers.
    """
    targets = config.target_modules
    matched = [p for p in paths if names_match(targets, p)]
    if not matched:
        name = targets if isinstance(targets, str) else targets[0]
        hint = f" (a regular expression for the whole path; a name is [{name!r}])" if name is targets else ""
        near = nearest(name, leaves(linear))
        raise ConfigError(f"no module matches target_modules {targets!r}{hint}; the model has: {near}")
    left_out = [names for names in (config.exclude_modules, config.modules_to_save) if names]
    chosen = [p for p in matched if _layer_wanted(config, p) and not any(names_match(n, p) for n in left_out)]
    if not chosen:
        raise ConfigError(
            f"all {len(matched)} modules that match target_modules {targets!r} are left out again, by "
            "exclude_modules, modules_to_save or layers_to_transform"
        )
    return chosen


def leaves(paths):
    """The last names: "q_proj" of "model.layers.0.self_attn.q_proj"; each once."""
    return sorted({p.rpartition(".")[2] for p in paths})


def _layer_wanted(config, path):
    """Whether the layer index in `path` is one of layers_to_transform; a target that is a whole path needs no index."""
    wanted = config.layers_to_transform
    if wanted is None or wanted == [] or path in config.target_modules:
        return True
    names = config.layers_pattern or []
    patterns = [rf"(?:^|.*?\.){n}\.(?P<idx>\d+)\." for n in ([names] if isinstance(names, str) else names)]
    found = next((m for p in patterns or [r".*?\.[^.]*\.(?P<idx>\d+)\."] if (m := re.match(p, path))), None)
    return found is not None and int(found["idx"]) in ([wanted] if isinstance(wanted, int) else wanted)

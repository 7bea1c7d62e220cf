"""Comparisons with PyTorch, transformers and PEFT are slow: a run of `not slow` tests does not even import those."""


def pytest_ignore_collect(config):
    chosen = config.option.markexpr
    return True if "not slow" in chosen or "not reference" in chosen else None

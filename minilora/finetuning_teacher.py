"""The teacher of a distillation: a base, an adapter, or a base with an adapter on it."""

from pathlib import Path
from typing import Any

from .adapters.files import CONFIG, read_adapter_config
from .adapters.model import PeftModel
from .errors import ConfigError
from .models.pretrained import load_base


def load_teacher(teacher: str, student, tokenizer, device: str = "cpu"):  # -> CausalLM or PeftModel in eval mode
    """The model that `teacher` names: BASE, ADAPTER or BASE+ADAPTER, folders or names on the hub.

    An adapter alone goes on the base that it was trained on. student, tokenizer: of the training. Raises ConfigError
    unless both have the same tokens.
    """
    base, adapter = parts_of(teacher)
    model, own = load_base(base, device)
    if own.inner.get_vocab() != tokenizer.inner.get_vocab():
        raise ConfigError(f"the teacher {teacher} has another tokenizer than the student: its tokens mean other texts")
    if model.config.vocab_size != student.config.vocab_size:
        raise ConfigError(
            f"the teacher {teacher} gives {model.config.vocab_size} logits, the student {student.config.vocab_size}"
        )
    return model if adapter is None else PeftModel.from_pretrained(model, adapter)


def parts_of(teacher: str) -> tuple[str | None, str | None]:
    """ "BASE+ADAPTER" -> (base, adapter). A folder may have a + in its name; a base of None is the shipped one."""
    if (Path(teacher) / CONFIG).is_file():
        config: Any = read_adapter_config(teacher)
        return config.base_model_name_or_path, teacher
    base, plus, adapter = teacher.rpartition("+")
    if not plus or Path(teacher).is_dir():
        return teacher, None
    return base, adapter

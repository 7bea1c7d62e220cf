"""BitsAndBytesConfig: how a base is quantized, in the words of transformers and bitsandbytes."""

from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np

from ..errors import ConfigError, nearest
from .int8 import Int8
from .nf4 import FourBit

KINDS = ("nf4", "fp4")
COMPUTE = ("float32", "bfloat16", "float16")
STORAGE = ("uint8", "int8", "bfloat16", "float16", "float32", "float64")


@dataclass
class BitsAndBytesConfig:
    """How the linear layers of a base are stored. Fields as in transformers 5; what is not supported is refused.

    load_in_4bit, load_in_8bit   exactly one of them is True
    bnb_4bit_quant_type          "nf4" or "fp4" (the default, as in transformers)
    bnb_4bit_use_double_quant    True: the scales of the blocks are stored in 8 bits
    bnb_4bit_compute_dtype       what a product is rounded to: "float32" (None), "bfloat16" or "float16"
    bnb_4bit_quant_storage       the type that the codes have in a file; "uint8" (None) unless FSDP needs another
    llm_int8_skip_modules        names of linear layers that are not quantized; None: the head
    llm_int8_threshold           written to files; here no input is rounded to 8 bits, so there are no outliers
    """

    load_in_8bit: bool = False
    load_in_4bit: bool = False
    llm_int8_threshold: float = 6.0
    llm_int8_skip_modules: list | None = None
    llm_int8_enable_fp32_cpu_offload: bool = False
    llm_int8_has_fp16_weight: bool = False
    bnb_4bit_compute_dtype: str | None = None
    bnb_4bit_quant_type: str = "fp4"
    bnb_4bit_use_double_quant: bool = False
    bnb_4bit_quant_storage: str | None = None

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is bool and not isinstance(value, bool):
                raise ConfigError(f"{f.name} {value!r}: expected True or False")
        if self.load_in_4bit == self.load_in_8bit:
            both = f"load_in_4bit {self.load_in_4bit} and load_in_8bit {self.load_in_8bit}"
            raise ConfigError(f"{both}: exactly one of them must be True")
        self.bnb_4bit_compute_dtype = _name(self.bnb_4bit_compute_dtype, "float32")
        self.bnb_4bit_quant_storage = _name(self.bnb_4bit_quant_storage, "uint8")
        for name, known in (
            ("bnb_4bit_quant_type", KINDS),
            ("bnb_4bit_compute_dtype", COMPUTE),
            ("bnb_4bit_quant_storage", STORAGE),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r}: expected {nearest(getattr(self, name), known)}")
        skip = self.llm_int8_skip_modules
        if skip is not None and not (isinstance(skip, list) and all(isinstance(s, str) for s in skip)):
            raise ConfigError(f"llm_int8_skip_modules {skip!r}: expected a list of names")
        if self.llm_int8_has_fp16_weight:
            raise ConfigError("llm_int8_has_fp16_weight True is not supported: weights are stored in 8 bits")

    @property
    def compute(self) -> str:
        """What the products of a layer are rounded to."""
        return str(self.bnb_4bit_compute_dtype) if self.load_in_4bit else "float32"

    def store(self, rounded: str):  # -> function (out, in) array -> Stored
        """How a weight is stored. rounded: "bfloat16" or "float16" for a model in 16 bits, else "float32"."""
        if self.load_in_8bit:
            return partial(Int8.of, rounded=rounded)
        double = self.bnb_4bit_use_double_quant
        return partial(FourBit.of, kind=self.bnb_4bit_quant_type, double=double, rounded=rounded)

    @classmethod
    def from_json(cls, data, where: str) -> "BitsAndBytesConfig":
        """From the `quantization_config` of a config.json. Raises ConfigError for another method or an unknown key."""
        data = {k: v for k, v in data.items() if not k.startswith("_")} if isinstance(data, dict) else {}
        method = data.pop("quant_method", "bitsandbytes")
        known = {f.name for f in fields(cls)}
        if method != "bitsandbytes":
            raise ConfigError(f"{where}: quant_method {method!r} is not supported, only bitsandbytes")
        if extra := [k for k in data if k not in known]:
            raise ConfigError(f"{where}: quantization_config has {extra[0]!r}, which is not known here")
        try:
            return cls(**data)
        except ConfigError as error:
            raise ConfigError(f"{where}: quantization_config: {error}") from error

    def to_json(self) -> dict:
        """The `quantization_config` that transformers reads."""
        own = {"_load_in_4bit": self.load_in_4bit, "_load_in_8bit": self.load_in_8bit, "quant_method": "bitsandbytes"}
        return asdict(self) | own


def _name(dtype, default):  # None, "bfloat16", torch.bfloat16 or np.float16 -> its name
    if dtype is None:
        return default
    if isinstance(dtype, type) and issubclass(dtype, np.generic):
        return np.dtype(dtype).name
    return str(dtype).removeprefix("torch.")


QUANTIZE = {  # value of --quantize -> options of `load_pretrained`
    "nf4": {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    },
    "int8": {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)},
    "bf16": {"dtype": "bfloat16"},
    "fp16": {"dtype": "float16"},
}

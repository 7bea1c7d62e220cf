"""The peak memory of a training step of transformers + PEFT, found without taking that memory.

The real code of transformers, PEFT and bitsandbytes runs on tensors with a shape and a type and no content (PyTorch's
FakeTensorMode). The peak is the largest sum of bytes of all arrays alive at one moment of two steps of AdamW (the
second step finds the optimizer's state). A real run needs more: the CUDA context, and what the allocator holds back.

Arrays are rounded up to 512 bytes, as PyTorch's CUDA allocator does. The code path is that of the CPU; it differs from
a GPU's in one place that matters: scaled_dot_product_attention with dropout keeps the T x T scores there.
"""

import warnings
import weakref

import bitsandbytes
import peft
import torch
import transformers
from bitsandbytes.functional import QuantState
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from minilora.adapters.targets import as_target_modules
from minilora.counting.architectures.catalog import load

from .memory_cases import Case

ROUNDED = 512  # bytes
STEPS = 2


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of all arrays that are alive; `peak` is the most that there were."""

    def __init__(self):
        super().__init__()
        self.sizes, self.now, self.peak = {}, 0, 0

    def track(self, tensor):
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = -(-storage.nbytes() // ROUNDED) * ROUNDED
            self.now += self.sizes[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key):
        self.now -= self.sizes.pop(key)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_iter(made):
            if isinstance(value, torch.Tensor):
                self.track(value)
        return made


def peak_bytes(case: Case) -> int:
    """The peak of `case`, in bytes."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    model = build(case)
    with FakeTensorMode(allow_non_fake_inputs=True):
        codes = make_fake(model)
        model.train()
        if case.recompute:
            if not case.is_full:
                model.enable_input_require_grads()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
        with LiveBytes() as live:
            for tensor in (*model.parameters(), *codes):
                live.track(tensor)
            for _ in range(STEPS):
                train_one_step(model, optimizer, case)
    return live.peak


def train_one_step(model, optimizer, case):
    batch = inputs(model, case)
    with torch.autocast("cpu", dtype=getattr(torch, case.dtype), enabled=is_autocast(case)):
        out = model(**batch)
        loss = out.loss if "labels" in batch else out.last_hidden_state.float().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def inputs(model, case):  # -> the arguments of the forward pass
    config, ids = model.config, torch.zeros(case.batch, case.length, dtype=torch.long)
    if config.model_type == "vit":
        return {"pixel_values": torch.zeros(case.batch, config.num_channels, config.image_size, config.image_size)}
    if config.model_type == "whisper":
        sound = torch.zeros(case.batch, config.num_mel_bins, 2 * config.max_source_positions, dtype=model.dtype)
        return {"input_features": sound, "labels": ids}
    return {"input_ids": ids} | ({} if model.get_output_embeddings() is None else {"labels": ids})


def is_autocast(case) -> bool:
    """Mixed precision: 32-bit weights, products in 16 bit. PEFT's prepared 4-bit base is trained so too."""
    return case.dtype != "float32" and case.method in ("full", "4-bit + LoRA, prepared")


def build(case):  # -> the model with its adapter; on the meta device: shapes alone
    config = load(case.model).config | case.changes
    settings = {name: value for name, value in config.items() if name != "model_type"} | {"use_cache": False}
    made = transformers.AutoConfig.for_model(config["model_type"], **settings)
    if getattr(made, "decoder_start_token_id", None) is None:
        made.decoder_start_token_id = 0
    weights = "float32" if case.method == "full" else case.dtype
    model_class = getattr(transformers, load(case.model).model_class)
    with torch.device("meta"):
        model = model_class._from_config(made, dtype=getattr(torch, weights))
        if config.get("tie_word_embeddings") is False:  # T5 ties them in a new model, whatever its configuration says
            head = model.get_output_embeddings()
            head.weight = torch.nn.Parameter(torch.empty_like(head.weight))
        if "4-bit" in case.method:
            model = in_four_bits(model, case)
        if not case.is_full:
            adapter = peft.LoraConfig(r=case.rank, target_modules=as_target_modules(case.targets))
            model = peft.get_peft_model(model, adapter)
    return model


def in_four_bits(model, case):
    """Every linear layer but the head as bitsandbytes has it: NF4, double quantization, products in bfloat16."""
    quantization = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    model = replace_with_bnb_linear(model, modules_to_not_convert=["lm_head"], quantization_config=quantization)
    model.is_loaded_in_4bit = True
    if case.method.endswith("prepared"):
        return peft.prepare_model_for_kbit_training(
            model, case.recompute, gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    return model.requires_grad_(False)


def make_fake(model):
    """Give every parameter and buffer of a model on the meta device a fake tensor on the CPU, shared ones once.

    Returns the tensors of 4-bit layers that are no parameters: scales and code books.
    """
    made, codes = {}, []
    for module in model.modules():
        for name, old in list(module._parameters.items()):
            if old is None:
                continue
            if id(old) not in made:
                if isinstance(module, bitsandbytes.nn.Linear4bit) and name == "weight":
                    made[id(old)] = old, packed(tuple(old.shape), codes)
                    module.quant_state = made[id(old)][1].quant_state
                else:
                    new = torch.nn.Parameter(torch.empty(old.shape, dtype=old.dtype), old.requires_grad)
                    made[id(old)] = old, new  # `old` too: its id must not be used again
            module._parameters[name] = made[id(old)][1]
        for name, old in list(module._buffers.items()):
            if old is not None:
                module._buffers[name] = torch.empty(old.shape, dtype=old.dtype)
    return codes


def packed(shape, codes):  # (out, in) -> Parameter of bytes, two numbers in each, with bitsandbytes' description
    """Blocks of 64 numbers have an 8-bit scale, blocks of 256 scales one in float32. Appends their tensors to codes."""
    numbers = shape[0] * shape[1]
    blocks = -(-numbers // 64)
    scales, offset = torch.empty(blocks, dtype=torch.uint8), torch.empty(())
    scales_of_scales, code, code_of_scales = torch.empty(-(-blocks // 256)), torch.empty(16), torch.empty(256)
    outer = QuantState(scales_of_scales, code=code_of_scales, blocksize=256, dtype=torch.float32)
    weight = torch.nn.Parameter(torch.empty(-(-numbers // 2), 1, dtype=torch.uint8), requires_grad=False)
    weight.quant_state = QuantState(
        scales, shape=torch.Size(shape), code=code, blocksize=64, quant_type="nf4", dtype=torch.bfloat16, offset=offset,
        state2=outer,
    )  # fmt: skip
    codes += [scales, offset, scales_of_scales, code, code_of_scales]
    return weight

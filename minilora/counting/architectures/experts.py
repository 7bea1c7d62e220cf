"""Mixtures of experts: decoders like Llama's whose MLP is many, of which a router chooses a few for each token.

In transformers 5 the experts of a layer are two parameters of three dimensions, (experts, out, in), and the router is
a module of its own. They are no linear layers: bitsandbytes leaves them in 16 bit, and PEFT 0.21.2 adapts them in its
own way. It translates the names that they had in transformers 4:

    mixtral     w1 and w3: gate_up_proj                w2: down_proj           gate: the router
    qwen3_moe   gate_proj and up_proj: gate_up_proj    down_proj: down_proj    gate: the router
    gpt_oss     none: no target module adapts its experts

Every expert has an adapter of rank r, in gate_up_proj of rank 2 r: those of two matrices beside one another.
"""

from dataclasses import replace

from ...adapters.targets import leaves, names_match
from ...errors import ConfigError
from .llamas import attention, decoder, mlp, norms
from .parts import WeightSpec, parameter


def mixtral(c):
    return decoder(c, mixtral_layer)


def mixtral_layer(c, at):
    yield from norms(c, at, "input")
    yield from attention(c, at)
    yield from norms(c, at, "post_attention")
    yield from _experts(c, at, c("num_local_experts"), c("intermediate_size"), ("w1", "w3"), ("w2",))


def qwen3_moe(c):
    return decoder(c, qwen3_moe_layer)


def qwen3_moe_layer(c, at):
    """Layers that the configuration names have an ordinary MLP; PEFT 0.21.2 cannot adapt it, for it takes the names of
    its matrices for the experts'."""
    number, dense, step = int(at.rpartition(".")[2]), c.given("mlp_only_layers") or [], c("decoder_sparse_step")
    if not isinstance(dense, list):
        raise c.wrong("mlp_only_layers", dense, "a list of whole numbers")
    yield from norms(c, at, "input")
    yield from attention(c, at, head_norms=True)
    yield from norms(c, at, "post_attention")
    if number in dense or (number + 1) % step:
        yield from mlp(c, at)
    else:
        gate_up, down = ("gate_proj", "up_proj"), ("down_proj",)
        yield from _experts(c, at, c("num_local_experts"), c("moe_intermediate_size"), gate_up, down)


def gpt_oss(c):
    return decoder(c, gpt_oss_layer)


def gpt_oss_layer(c, at):
    """Biases everywhere, and for each head a logit that attention may sink into."""
    m, E = c("intermediate_size"), c("num_local_experts")
    yield from norms(c, at, "input")
    yield from attention(c, at)
    yield parameter(f"{at}.self_attn.sinks", c("num_attention_heads"))
    yield from norms(c, at, "post_attention")
    for part in _experts(c, at, E, m, (), (), router="router"):
        yield replace(part, bias=E if part.kind == "router" else E * part.out)


def _experts(c, at, E, m, gate_up, down, router="gate"):
    """The router, and the matrices of E experts of width m inside. gate_up, down: their names to PEFT."""
    d, chosen = c("hidden_size"), c("num_experts_per_tok")
    if chosen > E:
        raise ConfigError(f"{c.where}: num_experts_per_tok {chosen} is more than the {E} experts")
    yield WeightSpec(f"{at}.mlp.{router}", "router", (E, d), reads="norm 2", names=gate_up and (router,))
    flow = {"reads": "experts", "feeds": "activation", "times": chosen, "names": gate_up}
    yield WeightSpec(f"{at}.mlp.experts.gate_up_proj", "experts", (E, 2 * m, d), **flow)
    yield WeightSpec(
        f"{at}.mlp.experts.down_proj", "experts", (E, d, m), reads="activation", times=chosen, names=down
    )  # fmt: skip


def match_experts(architecture, wanted):
    """What of `wanted` ("all-linear", a list of names, a regular expression) PEFT takes for experts and routers.

    -> (what is left of `wanted`, the experts and routers). As PEFT 0.21.2 does it: an expression becomes the list of
    the last names of all that it matches, in whatever layer. Raises ConfigError for one half of a fused matrix.
    """
    renamed = [p for p in architecture.parts if p.names]
    if not renamed:
        return wanted, []
    known = list(dict.fromkeys(name for part in renamed for name in part.names))
    names = wanted if isinstance(wanted, list) else _last_names(architecture, renamed, known, wanted)
    asked = {name for name in known if any(names_match([name], w) for w in names)}
    for part in renamed:
        missing = [name for name in part.names if name not in asked]
        if 0 < len(missing) < len(part.names):
            given = next(name for name in part.names if name in asked)
            where = f"both are one matrix, {part.path}, in transformers 5"
            raise ConfigError(f"target {given!r} needs {missing[0]!r} beside it: {where}")
    chosen = [p for p in renamed if asked.issuperset(p.names)]
    outer = {p.module for p in chosen if p.path.endswith(".down_proj")}
    chosen = [replace(p, inner=p.path.endswith(".gate_up_proj") and p.module in outer) for p in chosen]
    return [name for name in names if not names_match(known, name)], chosen


def _last_names(architecture, renamed, known, wanted):
    """The last names of all that the expression matches; "all-linear": of the linear layers, and the renamed ones."""
    if wanted == "all-linear":
        return leaves(p.path for p in architecture.linears) + known
    bare = [p.path if p.kind in ("experts", "parameter") else f"{p.path}.weight" for p in architecture.parts]
    before = [f"{p.module}.{name}" for p in renamed if p.kind == "experts" for name in p.names]
    modules = architecture.modules
    found = leaves(path for path in (*modules, *bare, *before) if names_match(wanted, path))
    return [name for name in found if name in known or name in leaves(modules)]


def notes_on_experts(architecture, chosen, rank: int) -> list:
    """What a reader of the count, and of the memory, should know."""
    experts = [p for p in architecture.parts if p.kind == "experts"]
    adapted = [p for p in chosen if p.kind == "experts"]
    if not experts:
        return []
    notes = ["in 4 bit only linear layers are stored so: bitsandbytes leaves the experts in 16 bit (transformers 5)"]
    if architecture.model_type == "gpt_oss":
        notes.append(
            "the published experts are in MXFP4; transformers trains them in 16 bit: Mxfp4Config(dequantize=True)"
        )
    if not experts[0].names:
        return ["no target adapts the experts: they are no linear layers (PEFT 0.21.2, transformers 5)", *notes]
    if not adapted:
        return notes
    apart = sum(rank * p.shape[0] * (len(p.names) * p.n_in + p.out) for p in adapted)
    rest = sum(p.lora_size(rank) for p in chosen if p.kind != "experts")
    return [
        "the experts are counted as PEFT 0.21.2 adapts them in transformers 5: one parameter for all of a layer, gate "
        f"and up together with rank {2 * rank}; with linear layers for each expert (transformers 4), LoRA trains "
        f"{rest + apart:,} parameters",
        *notes,
    ]

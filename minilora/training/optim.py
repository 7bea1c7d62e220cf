"""Optimizers, schedules and clipping: everything between `backward` and the next forward.

An optimizer changes the arrays of its parameters in place. It keeps only arrays and counters, so a training can be
saved and resumed with the same bits. A schedule is a function of the step; its value multiplies the learning rate.
"""

import math
from collections.abc import Callable

import numpy as np

from ..backend import array_module, compute_beside, like, to_host
from ..device.fused import kernels
from ..device.joined import WORTH_JOINING, JoinedParameters, flattened, is_small, side_by_side
from ..errors import ConfigError, FormatError, UnknownNameError, listed, nearest


class Optimizer:
    """Parameters in groups, each with its own settings, and a few arrays (`buffers`) beside every parameter.

    params: Parameters, or groups {"params": [...], "lr": ..., ...}; a setting of a group overrides the default.
    A parameter without a gradient is left alone. Raises ConfigError for no parameters, one given twice, a bad setting.
    """

    buffers = ()  # names of the arrays that `update` needs beside a parameter, zero at first

    def __init__(self, params, **defaults):
        self.param_groups = make_groups(params, defaults)
        self.params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in self.params}) != len(self.params):
            raise ConfigError("a parameter is in the optimizer twice")
        self.steps = [0] * len(self.params)  # how often each parameter was updated
        self.state = [{} for _ in self.params]  # its buffers, made when it is first updated
        self._joined = {}  # on a GPU: index of the first -> small parameters that are updated as one array

    def step(self, factor: float = 1.0) -> None:
        """Update every parameter that has a gradient, with `factor` times the learning rate of its group."""
        index = 0
        for group in self.param_groups:
            lr = float(group["lr"] * factor)  # a Python number: a NumPy one would turn float32 arrays into float64
            ready = []
            for p in group["params"]:
                if p.grad is not None:
                    compute_beside(p.data)
                    if not self.state[index]:
                        zeros_like = array_module(p.data).zeros_like
                        self.state[index] = {name: zeros_like(p.data) for name in self.buffers}
                    self.steps[index] += 1
                    ready.append(index)
                index += 1
            for p, g, t, state in self._updates(ready):
                self.update(p, g, t, state, lr, group)

    def _updates(self, indices):  # -> iterator of what `update` takes
        """The arrays of these parameters; on a GPU small ones of a type, updated equally often, are one array."""
        together = {}
        for i in indices:
            p, t = self.params[i], self.steps[i]
            if is_small(p.data):
                together.setdefault((t, p.dtype), []).append(i)
            else:
                yield p.data, p.grad, t, self.state[i]
        for (t, _), chosen in together.items():
            if len(chosen) < WORTH_JOINING:
                yield from ((self.params[i].data, self.params[i].grad, t, self.state[i]) for i in chosen)
                continue
            params, states = [self.params[i] for i in chosen], [self.state[i] for i in chosen]
            joined = self._joined.get(chosen[0])
            if joined is None or not joined.holds(params, states):
                joined = self._joined[chosen[0]] = JoinedParameters(params, states)
            yield joined.data, flattened([p.grad for p in params]), t, joined.buffers

    def update(self, p, g, t, state, lr, group):
        """Change the array `p` in place. g: its gradient; t: how often it was updated, this time included."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict:
        """{name: host array}: "<index>.step" and "<index>.<buffer>" of every parameter that was updated."""
        arrays = {}
        for index, (step, state) in enumerate(zip(self.steps, self.state, strict=True)):
            if step:
                arrays[f"{index}.step"] = np.array(step, dtype=np.int64)
                arrays.update({f"{index}.{name}": to_host(a).copy() for name, a in state.items()})
        return arrays

    def load_state_dict(self, arrays: dict) -> None:
        """Go on from what `state_dict` gave. Raises FormatError when it does not fit these parameters."""
        self.check_state_dict(arrays)
        for i, p in enumerate(self.params):
            self.steps[i] = int(arrays.get(f"{i}.step", 0))
            names = self.buffers if self.steps[i] else ()
            self.state[i] = {name: like(arrays[f"{i}.{name}"].copy(), p.data) for name in names}

    def check_state_dict(self, arrays: dict) -> None:
        """Raises FormatError when `arrays` is not the state of an optimizer of these parameters."""
        updated = [i for i in range(len(self.params)) if f"{i}.step" in arrays]
        wrong = arrays.keys() ^ {f"{i}.{name}" for i in updated for name in ("step", *self.buffers)}
        if wrong:
            raise FormatError(f"the optimizer's state is of another run: {listed(sorted(wrong))} do not fit")
        for i in updated:
            p, step = self.params[i], arrays[f"{i}.step"]
            if step.shape != () or step.dtype != np.int64:
                raise FormatError(f"the optimizer's state {i}.step is {step.shape} {step.dtype}, not () int64")
            for name in self.buffers:
                array = arrays[f"{i}.{name}"]
                if array.shape != p.shape or array.dtype != p.dtype:
                    raise FormatError(
                        f"the optimizer's state {i}.{name} is {array.shape} {array.dtype}, not {p.shape} {p.dtype}"
                    )


def make_groups(params, defaults: dict) -> list[dict]:
    """Parameters or groups of them -> groups that have every setting. Raises ConfigError for a bad setting."""
    groups = list(params)
    if not groups:
        raise ConfigError("the optimizer got no parameters")
    if not isinstance(groups[0], dict):
        groups = [{"params": groups}]
    groups = [{**group, "params": list(group["params"])} for group in groups]
    unknown = [name for group in groups for name in group if name != "params" and name not in defaults]
    if unknown:
        raise ConfigError(f"no setting {unknown[0]!r} of a group; there are: {nearest(unknown[0], defaults)}")
    groups = [{**defaults, **group} for group in groups]
    for group in groups:
        for name, value in group.items():
            if name != "params" and not all(x >= 0 and math.isfinite(x) for x in np.atleast_1d(value)):
                raise ConfigError(f"{name} = {value}: expected a number of at least 0")
    return groups


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101); torch's defaults and arithmetic.

    m <- β1 m + (1 - β1) g              m̂ = m / (1 - β1ᵗ)
    v <- β2 v + (1 - β2) g²             v̂ = v / (1 - β2ᵗ)
    p <- (1 - lr λ) p - lr m̂ / (√v̂ + ε)
    """

    buffers = ("exp_avg", "exp_avg_sq")  # m and v

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for group in self.param_groups:
            if not (len(group["betas"]) == 2 and all(b < 1 for b in group["betas"])):
                raise ConfigError(f"betas = {group['betas']}: expected two numbers in 0 <= β < 1")

    def update(self, p, g, t, state, lr, group):
        beta1, beta2 = map(float, group["betas"])
        m, v = state["exp_avg"], state["exp_avg_sq"]
        root = math.sqrt(1 - beta2**t)  # √v̂ = √v / root; the corrections are plain numbers, no device waits for them
        # lr m̂ / (√v̂ + ε) = rate m / (√v + eps)
        rate, eps, keep = lr * root / (1 - beta1**t), float(group["eps"]) * root, 1 - lr * float(group["weight_decay"])
        if (xp := array_module(g)) is not np:
            numbers = (p.dtype.type(n) for n in (beta1, 1 - beta1, beta2, 1 - beta2, eps, rate, keep))
            kernels(xp).adamw(p, m, v, g, *numbers)
            return

        m *= beta1
        new = g * (1 - beta1)
        m += new
        v *= beta2
        np.multiply(g, g, out=new)
        new *= 1 - beta2
        v += new

        np.sqrt(v, out=new)
        new += eps
        np.divide(m, new, out=new)
        new *= rate
        p *= keep
        p -= new


class SGD(Optimizer):
    """u <- μ u + g        p <- p - lr u        (torch's convention; μ = 0 is plain gradient descent)"""

    buffers = ("momentum_buffer",)

    def __init__(self, params, lr=1e-3, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)

    def update(self, p, g, t, state, lr, group):
        u = state["momentum_buffer"]
        u *= float(group["momentum"])
        u += g
        p -= lr * u


def clip_grad_norm_(params, max_norm: float):  # -> 0-d array
    """Shrink all gradients by one factor, so that their global norm is at most `max_norm`.

    Returns the norm before, sqrt(Σ g²) over all gradients together: a 0-d array where the gradients are, so that the
    host does not wait for a device. The factor is max_norm / (norm + 1e-6), at most 1, as in torch.
    """
    learning = [p for p in params if p.grad is not None]
    if not learning:
        return np.zeros((), dtype=np.float32)
    compute_beside(learning[0].grad)
    gradients = side_by_side(learning)
    xp = array_module(gradients[0])
    norm = xp.sqrt(sum(xp.vdot(g, g) for g in gradients))
    factor = xp.minimum(max_norm / (norm + 1e-6), 1)
    for g in gradients:
        g *= factor
    return norm


# ---- schedules: functions step -> factor; steps count from 1

Schedule = Callable[[int], float]


def constant(warmup: int = 0) -> Schedule:
    """Rises to 1 over `warmup` steps, then stays."""
    return lambda step: min(1.0, step / max(1, warmup))


def linear_decay(steps: int, warmup: int = 0) -> Schedule:
    """Rises to 1 over `warmup` steps, then falls in a straight line to 0 just after the last step."""
    rise = constant(warmup)
    return lambda step: rise(step) if step <= warmup else 1 - _progress(step, steps, warmup)


def cosine(steps: int, warmup: int = 0) -> Schedule:
    """Rises to 1 over `warmup` steps, then falls as half a cosine to 0 just after the last step."""
    rise = constant(warmup)
    return lambda step: rise(step) if step <= warmup else 0.5 + 0.5 * math.cos(math.pi * _progress(step, steps, warmup))


def _progress(step, steps, warmup):
    """How much of the fall is done: 0 at the first step after the warm-up, 1 after the last."""
    return min(1.0, (step - warmup - 1) / max(1, steps - warmup))


SCHEDULES = {"constant": lambda steps, warmup: constant(warmup), "linear": linear_decay, "cosine": cosine}


def schedule_named(name: str, steps: int, warmup: int = 0) -> Schedule:
    """The schedule of that name for a run of `steps` steps. Raises UnknownNameError."""
    if name not in SCHEDULES:
        raise UnknownNameError(f"no schedule {name!r}; there are: {nearest(name, SCHEDULES)}")
    return SCHEDULES[name](steps, warmup)

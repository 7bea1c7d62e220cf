"""The time of a training step on N workers: a model of two parts, and where a method stops scaling.

    T(N) = a + b · ⌈rows / N⌉ + S(N)          a: what every worker does again (AdamW, clipping); b: seconds of a row
    S(N) = 2 ⌈log₂ N⌉ · latency + 2 (N - 1) / N · bytes / bandwidth

S is the sum that MPICH makes of long arrays: each worker adds up a part, then all parts are sent to all (Rabenseifner's
algorithm; Thakur, Rabenseifner and Gropp 2005, section 4.5). Nothing is sent while a worker computes, as it is here;
PyTorch's DDP sends early gradients during the backward, and hides a part of S.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """latency: seconds of a message; bandwidth: bytes a second, of one worker."""

    name: str
    latency: float
    bandwidth: float

    def sum_seconds(self, workers, size):  # int, bytes -> seconds
        if workers == 1:
            return 0.0
        turns = 2 * math.ceil(math.log2(workers)) * self.latency
        return turns + 2 * (workers - 1) / workers * size / self.bandwidth


@dataclass(frozen=True)
class Step:
    """fixed: a, seconds; row: b, seconds; bytes: of the gradients."""

    fixed: float
    row: float
    bytes: int

    def seconds(self, workers, rows, network):
        return self.fixed + self.row * math.ceil(rows / workers) + network.sum_seconds(workers, self.bytes)

    def speed_up(self, workers, rows, network):
        return self.seconds(1, rows, network) / self.seconds(workers, rows, network)

    def most_workers(self, rows, network):
        """The largest power of two of workers, at most `rows`, that spend at least half their time well."""
        found = 1
        while found * 2 <= rows and self.speed_up(found * 2, rows, network) >= found:
            found *= 2
        return found


ETHERNET = Network("Ethernet, 1 Gbit/s", 50e-6, 0.125e9)
INFINIBAND = Network("InfiniBand, 400 Gbit/s", 5e-6, 50e9)


def network_of(sums, workers):  # {bytes: seconds} of sums -> Network: of this machine, as its sums show it
    """The latency of the smallest array, and the bandwidth that the largest one had."""
    smallest, largest = min(sums), max(sums)
    latency = sums[smallest] / (2 * math.ceil(math.log2(workers)))
    rest = sums[largest] - sums[smallest]
    return Network("this machine", latency, 2 * (workers - 1) / workers * largest / rest)


def step_of(seconds, size):  # {rows: seconds} of one worker, bytes -> Step
    """A straight line through the steps with the fewest and the most rows."""
    few, many = min(seconds), max(seconds)
    row = (seconds[many] - seconds[few]) / (many - few)
    return Step(max(0.0, seconds[few] - row * few), row, size)


def on_gpus(parameters, trained, tokens, bytes_each, flops=989e12, used=0.4):
    """A model on GPUs, by arithmetic alone: forward and backward take 6 operations for each parameter and token, and 4
    when only an adapter is trained. flops: an H100 in 16 bits; used: the share of it that a good training reaches."""
    operations = (6 if trained == parameters else 4) * parameters * tokens
    return Step(0.0, operations / (flops * used), trained * bytes_each)

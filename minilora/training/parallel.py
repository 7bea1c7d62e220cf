"""Data-parallel training: each worker computes the gradients of its rows, and one sum gives every worker all of them.

    G = Σ over workers w of  (n_w / n) · ∇ L_w        L_w: mean loss of w's n_w labels;  n = Σ n_w

This is the sum of all token losses, divided once by all tokens. The mean of the workers' means is another number when
their rows have different numbers of labels. Clipping and the optimizer's step follow, alike on every worker.

Only what is trained travels. For LoRA it is the adapter's gradient, a few hundred kilobytes; for full fine-tuning it
is the whole model's. The workers are processes that a launcher such as mpiexec has started on one or more machines.
"""

import time
from typing import Any

import numpy as np

from ..backend import array_module, like, to_host

DIGITS = 4096  # a number of labels travels as two numbers, count // DIGITS and count % DIGITS, exact in float32
TAIL = 4  # numbers after the gradients: loss, labels (two), stop
AGREE = 0.4  # seconds that a failing worker waits for the others to fail alike


class Workers:
    """This process alone, and what every group of workers has.

    rank   the number of this worker, from 0; worker 0 alone prints, saves and draws
    size   how many there are
    local  how many of them are on this machine
    bytes  that this worker has given to `sum` so far
    """

    rank, size, local, bytes = 0, 1, 1, 0

    def sum(self, array):
        """Put the sum of all workers' arrays into each of them. The result has the same bits everywhere."""
        return array

    def broadcast(self, array):
        """Put worker 0's array into the arrays of all others."""
        return array

    def wait(self) -> None:
        """Return when every worker has called this."""

    def gather(self, number: float):  # -> (size,) float64: the number of each worker
        numbers = np.zeros(self.size)
        numbers[self.rank] = number
        return self.sum(numbers)

    def sum_step(self, params, loss, labels: int, stop: bool):  # [Parameter], 0-d array -> loss, labels, stop of all
        """Replace the gradients of `params` by their sums over the workers, and add up the other numbers.

        loss: this worker's part of the mean. stop: whether it was asked to end; that of all is whether any was.
        """
        return loss, labels, stop


ALONE = Workers()


class MpiWorkers(Workers):
    """The processes of an MPI communicator. Arrays on a GPU go through the host's memory."""

    def __init__(self, mpi, comm):
        self.in_place, self.comm, self.rank, self.size = mpi.IN_PLACE, comm, comm.rank, comm.size
        self.mistakes = comm.Dup()  # a channel of its own: the others may be waiting in a sum
        here = comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local, self.local_rank = here.size, here.rank
        self.flat: Any = None  # the gradients in one array, (all their numbers + TAIL,)

    def sum(self, array):
        host = np.ascontiguousarray(to_host(array))
        self.comm.Allreduce(self.in_place, host)
        self.bytes += host.nbytes
        return _put(host, array)

    def broadcast(self, array):
        host = np.ascontiguousarray(to_host(array))
        self.comm.Bcast(host)
        return _put(host, array)

    def wait(self):
        self.comm.Barrier()

    def sum_step(self, params, loss, labels, stop):
        if self.flat is None or len(self.flat) != sum(p.size for p in params) + TAIL:
            dtype = np.result_type(params[0].dtype, np.float32)  # also of weights that are float16 just now
            self.flat = array_module(params[0].data).empty(sum(p.size for p in params) + TAIL, dtype)
        flat, end = self.flat, 0
        for p in params:
            start, end = end, end + p.size
            flat[start:end] = 0 if p.grad is None else p.grad.reshape(-1)
            p.grad = None if p.grad is None else flat[start:end].reshape(p.shape)
        flat[end] = loss
        for place, number in enumerate((labels // DIGITS, labels % DIGITS, stop), start=end + 1):
            flat[place] = number
        self.sum(flat)
        high, low, stops = to_host(flat[end + 1 :]).tolist()  # the one wait for a GPU
        return flat[end].copy(), int(high) * DIGITS + int(low), stops > 0

    def all_fail(self) -> bool:
        """Whether every worker calls this within a moment: they fail alike, and none of them waits in a sum."""
        request, deadline = self.mistakes.Ibarrier(), time.monotonic() + AGREE
        while not (done := request.Test()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return done


class NcclWorkers(MpiWorkers):
    """Workers that have a GPU each: arrays there are summed by NCCL, without the host.

    No machine with two GPUs was at hand: this class is tested against a stand-in, and untested beyond one worker.
    """

    def __init__(self, mpi, comm):
        super().__init__(mpi, comm)
        from cupyx.distributed import init_process_group  # pyright: ignore[reportMissingImports]

        self.nccl = init_process_group(self.size, self.rank, use_mpi=True)

    def sum(self, array):
        if isinstance(array, np.ndarray):
            return super().sum(array)
        self.nccl.all_reduce(array, array)
        self.bytes += array.nbytes
        return array


def _put(host, array):  # an array on the host, one of the same shape anywhere -> the second, with the first's numbers
    if host is not array:
        array[...] = like(host, array)
    return array

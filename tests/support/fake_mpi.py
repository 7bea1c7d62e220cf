"""A stand-in for mpi4py.MPI with one process: what the others would add is nothing."""

from types import SimpleNamespace


class Comm:
    """One process as an MPI communicator, and what it was asked for."""

    def __init__(self, size=1, rank=0):
        self.size, self.rank, self.calls = size, rank, []

    def Dup(self):
        return self

    def Split_type(self, kind):
        return self

    def Allreduce(self, place, array):
        self.calls.append(("Allreduce", array.size))

    def Bcast(self, array):
        self.calls.append(("Bcast", array.size))


def fake_mpi(**comm):
    return SimpleNamespace(
        IN_PLACE=None, COMM_TYPE_SHARED=0, COMM_WORLD=Comm(**comm), get_vendor=lambda: ("MPICH", (5, 0, 2))
    )

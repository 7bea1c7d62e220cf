"""Adapters in slots for good, so that a batch with an adapter for each row copies nothing: what a server keeps."""

import itertools

from .mixed import STACKS, Segment, as_slice


class Resident:
    """Adapters in slots. Those of one form (rank, DoRA or not, VeRA with the same A and B, ...) share the arrays of a
    layer, which are made for the first of them and freed after the last.

    n_slots  how many adapters fit; slots: {name: its slot}
    """

    def __init__(self, n_slots):
        self.n_slots, self.slots = n_slots, {}
        self._kind_of = {}  # name -> number of what it adapts, with ranks
        self._numbers = {}  # what an adapter adapts -> that number
        self._new = itertools.count()
        self._stacks = {}  # path -> [what holds updates of one form of this layer]
        self._by_kind = {}  # (number, path) -> one of them

    def put(self, name, methods, layers):  # {path: Method}, {path: AdaptedLayer}
        """Copy an adapter into a free slot. Returns False when it is of a method that only the loop can add."""
        parts = {path: method.stacked(layers[path].base_layer) for path, method in methods.items()}
        if None in parts.values():
            return False
        slot = min(set(range(self.n_slots)) - set(self.slots.values()))
        stacks = {path: self._stack_for(path, part) for path, part in parts.items()}
        for path, part in parts.items():
            stacks[path].put(slot, part)
        number = self._numbers.setdefault(tuple(sorted((path, id(s)) for path, s in stacks.items())), next(self._new))
        self._by_kind |= {(number, path): stack for path, stack in stacks.items()}
        self.slots[name], self._kind_of[name] = slot, number
        return True

    def _stack_for(self, path, part):
        known = self._stacks.setdefault(path, [])
        if (found := next((stack for stack in known if stack.fits(part)), None)) is None:
            known.append(found := STACKS[type(part)].of(part, self.n_slots))
        return found

    def drop(self, name):
        """Free the slot of an adapter, and the arrays that no other adapter uses. Its numbers stay in the others."""
        del self.slots[name]
        number = self._kind_of.pop(name)
        if number in self._kind_of.values():
            return
        self._numbers = {kind: n for kind, n in self._numbers.items() if n != number}
        self._by_kind = {key: stack for key, stack in self._by_kind.items() if key[0] != number}
        used = {id(stack) for stack in self._by_kind.values()}
        self._stacks = {path: [s for s in known if id(s) in used] for path, known in self._stacks.items()}

    def stack(self, kind, path):  # -> Stack, SharedStack, ScaleStack or None
        """Where adapters of a kind have their parts of the layer at `path`; None: they do not adapt it."""
        return self._by_kind.get((kind, path))

    def segments(self, rows_of):  # {name: its rows} -> [Segment]
        """The batch sorted by slot and cut into slices: as few products as the slots allow."""
        found = []
        for name in sorted(rows_of, key=self.slots.__getitem__):
            slot, kind, rows = self.slots[name], self._kind_of[name], rows_of[name]
            if found:
                slots, before, each, its = found[-1]
                if (slots.stop, each, its) == (slot, len(rows), kind):
                    found[-1] = slice(slots.start, slot + 1), before + rows, each, kind
                    continue
            found.append((slice(slot, slot + 1), rows, len(rows), kind))
        return [Segment(slots, as_slice(rows), each, kind) for slots, rows, each, kind in found]

"""Which sequences take part in the next step: those that run, and of those that wait the first that can."""

from collections import deque

from ..errors import BusyError


class Scheduler:
    """Waiting and running sequences. One thread owns it.

    max_rows     sequences that run at once (--max-num-seqs)
    max_waiting  sequences that may wait; more are refused
    piece        tokens of prompts that one step reads, so that a long prompt does not hold up the others

    running      by their rows in the cache: first those that answer, then those whose prompts are being read
    answering    how many answer
    """

    def __init__(self, pool, max_rows, max_waiting=1024, piece=256):
        self.pool, self.max_rows, self.max_waiting, self.piece = pool, max_rows, max_waiting, piece
        self.patience = 4 * max_rows  # how often a waiting sequence is passed over
        self.waiting = deque()
        self.running, self.answering = [], 0

    def add(self, sequence):
        """Let a sequence wait. Raises BusyError when too many do."""
        if len(self.waiting) >= self.max_waiting:
            raise BusyError(f"{len(self.waiting)} requests are waiting already: try again later")
        self.waiting.append(sequence)

    def schedule(self):  # -> [(sequence, how many tokens of its prompt)]
        """Admit what fits, and share out the next step: pieces of prompts, in the order of their rows.

        The rows that answer, running[: answering], get a token each.
        """
        self._admit()
        pieces, left = [], self.piece
        for sequence in self.running[self.answering :]:
            if left > 0:
                pieces.append((sequence, min(left, len(sequence.prompt) - sequence.computed)))
                left -= pieces[-1][1]
        return pieces

    def prefilled(self, sequence):  # -> the two rows that change places
        """The prompt of a sequence is read: it answers from now on, behind the others that do."""
        first, row = self.answering, sequence.row
        other = self.running[first]
        self.running[first], self.running[row] = sequence, other
        sequence.row, other.row = first, row
        self.answering += 1
        return first, row

    def remove(self, sequence):  # -> [(row, the row that it becomes)]
        """Take out a sequence that ended. Others move into its row, so that those that answer stay together."""
        if sequence.row < 0:
            self.waiting.remove(sequence)
            return []
        if sequence.lease is not None:
            sequence.lease.rows -= 1
        moves, hole = [], sequence.row
        if hole < self.answering:
            self.answering -= 1
            hole = self._move(self.answering, hole, moves)
        hole = self._move(len(self.running) - 1, hole, moves)
        self.running.pop()
        sequence.row = -1
        return moves

    def _move(self, source, hole, moves):  # -> where the hole is now
        if source != hole:
            self.running[hole] = self.running[source]
            self.running[hole].row = hole
            moves.append((source, hole))
        return source

    def _admit(self):
        """Start waiting sequences in order. One whose adapter finds no free slot is passed over, and stays in front.

        One that was passed over too often lets no other pass: a slot becomes free as the running ones end.
        """
        blocked = []
        while self.waiting and len(self.running) < self.max_rows:
            sequence = self.waiting.popleft()
            if any(other.overtaken >= self.patience for other in blocked) or not self.pool.activate(sequence.lease):
                blocked.append(sequence)
                continue
            for other in blocked:
                other.overtaken += 1
            if sequence.lease is not None:
                sequence.lease.rows += 1
            sequence.row = len(self.running)
            self.running.append(sequence)
        self.waiting.extendleft(reversed(blocked))

"""The heart of the server: one thread that owns model, pool and cache, and makes steps.

    step = schedule, run, give out

A step reads pieces of new prompts, those of about one length together, and then adds a token to every row that answers:
one forward for all of them, whatever their adapters (`adapters/mixed.py`). Handlers only put sequences into a queue.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..adapters.mixed import BASE, Rows, as_slice
from ..autograd import Tensor, no_grad
from ..backend import like, to_host, use_device
from ..errors import BusyError, ConfigError, MiniloraError
from ..models.context import Context
from ..models.generation import sample_tokens
from ..models.row_cache import RowCache
from .requests import Delta, Logprob, Sequence
from .scheduler import Scheduler


class Engine:
    """A model with a pool of adapters that answers many sequences at once.

    model, pool      the CausalLM and its Pool
    max_rows         sequences that run at once
    max_model_len    most tokens of a prompt and its answer; None: as many as the model has places, and its window
    """

    def __init__(self, model, pool, max_rows=64, max_model_len=None, max_waiting=1024):
        self.model, self.pool = model, pool
        most = longest(model)
        if max_model_len is not None and not 1 <= max_model_len <= most:
            raise ConfigError(f"max_model_len {max_model_len}: expected 1 to {most}, what this base can read")
        self.max_model_len = max_model_len or most
        self.scheduler = Scheduler(pool, max_rows, max_waiting)
        self.cache = RowCache(max_rows, self.max_model_len)
        self.counts: Any = Counter()  # prompt_tokens, generation_tokens, steps, ...: read by /metrics
        self.failure = None  # the exception that ended the thread
        self.after_step: Callable = lambda: None  # called in the engine's thread: sends what the step gave
        self._inbox = queue.SimpleQueue()
        self._open = 0  # sequences that were submitted and have not ended
        self._lock = threading.Lock()
        self._thread = None

    # ---- other threads

    def submit(self, sequence: Sequence):
        """Let the engine answer. Its `give` gets every Delta, in the engine's thread. Raises BusyError, ConfigError."""
        self.check(sequence)
        with self._lock:
            if self.failure is not None:
                raise BusyError(f"the engine ended: {self.failure}")
            if self._open >= self.scheduler.max_waiting + self.scheduler.max_rows:
                raise BusyError(f"{self._open} requests run or wait already: try again later")
            self._open += 1
        self._inbox.put(sequence)

    def check(self, sequence):
        """Raises ConfigError for a prompt that this model cannot answer."""
        n, ids = len(sequence.prompt), sequence.prompt
        if sequence.scale != 1 and not (sequence.lease and sequence.lease.is_scalable):
            raise ConfigError("lora_scale: only LoRA adapters can be scaled, not the base or another method")
        if n == 0:
            raise ConfigError("the prompt is empty: expected at least one token")
        if ids.min() < 0 or ids.max() >= self.model.config.vocab_size:
            raise ConfigError(f"token id {int(ids.max() if ids.min() >= 0 else ids.min())} is out of vocabulary")
        if n + sequence.sampling.max_tokens > self.max_model_len:
            raise ConfigError(
                f"This model's maximum context length is {self.max_model_len} tokens. However, you requested "
                f"{n + sequence.sampling.max_tokens} tokens ({n} in the messages, {sequence.sampling.max_tokens} in "
                "the completion)."
            )

    def cancel(self, sequence):
        """End a sequence that nobody waits for any more."""
        sequence.cancelled.set()
        self.wake()

    def wake(self):
        """Make a step although nothing was submitted: it frees the memory of an unloaded adapter."""
        self._inbox.put(None)

    def start(self):
        """Run steps in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def end(self):
        """Let the thread end after its step; what runs is aborted."""
        self._inbox.put(StopIteration)

    def stop(self):
        """End the thread after its step, and wait for it; what runs is aborted."""
        self.end()
        if self._thread is not None:
            self._thread.join()

    # ---- the engine's thread

    def _run(self):
        try:
            use_device(self.model.device)  # it is this thread's from now on: slots are made before the first forward
            while self.take(wait=not self.is_busy):
                with self.pool.turn():
                    self.step()
                    self.after_step()
        except BaseException as error:  # a bug: nobody shall wait for an answer that is not given
            self.failure = error
            raise
        finally:
            self.failure = self.failure or BusyError("the server is stopping")
            reason = "abort" if isinstance(self.failure, BusyError) else "error"
            self.take(wait=False)
            for sequence in [*self.scheduler.running, *self.scheduler.waiting]:
                self._end(sequence, Delta("", (), finish_reason=reason, error=self.failure))
            self.after_step()

    is_busy = property(lambda self: bool(self.scheduler.running or self.scheduler.waiting))

    def take(self, wait=False) -> bool:
        """Take over what was submitted; with `wait` at least one message. False: the engine shall stop."""
        goes_on = True
        while wait or not self._inbox.empty():
            message, wait = self._inbox.get(), False
            if message is StopIteration:
                goes_on = False
            elif message is not None:
                try:
                    self.scheduler.add(message)
                except BusyError as error:
                    self._end(message, Delta("", (), finish_reason="error", error=error))
        return goes_on

    def step(self):
        """Schedule, run, give out."""
        self.pool.sweep()
        for sequence in [s for s in (*self.scheduler.running, *self.scheduler.waiting) if s.cancelled.is_set()]:
            self._end(sequence, Delta("", (), finish_reason="abort"))
        pieces = self.scheduler.schedule()
        began = time.perf_counter()
        with no_grad():
            for group in together(pieces):
                self._guarded([sequence for sequence, _ in group], self._read_prompts, group)
            if answering := self.scheduler.running[: self.scheduler.answering]:
                self._guarded(answering, self._answer, answering)
        self.counts["steps"] += 1
        self.counts["step_seconds"] += time.perf_counter() - began

    def _guarded(self, sequences, work, *arguments):
        """A mistake in the numbers of an adapter, or a lack of memory, ends these sequences, and no others."""
        try:
            work(*arguments)
        except (MiniloraError, MemoryError) as error:
            if isinstance(error, MemoryError):  # of the host, or of a GPU: CuPy's is one, too
                error = BusyError("out of memory: shorter requests, or fewer at a time, need less")
            for sequence in sequences:
                if sequence.row >= 0:
                    self._end(sequence, Delta("", (), finish_reason="error", error=error))

    def _read_prompts(self, pieces):  # [(sequence, how many tokens)], all from one place of their prompts on
        """The next tokens of these prompts. The last one of a prompt is followed by the first token of the answer.

        Shorter pieces are padded behind: no token sees a later one, and the cache does not count the padding.
        """
        sequences, counts = [s for s, _ in pieces], np.array([count for _, count in pieces])
        rows, start = np.array([s.row for s in sequences]), sequences[0].computed
        if start == 0:
            self.cache.clear(rows)
        ids = np.zeros((len(rows), counts.max()), dtype=np.int64)
        for own, (sequence, count) in zip(ids, pieces, strict=True):
            own[:count] = sequence.prompt[start : start + count]
        h = self._hidden(ids, as_slice(rows.tolist()), sequences, counts)  # (B, T, d)
        ended = []
        for i, (sequence, count) in enumerate(pieces):
            sequence.computed += count
            if sequence.echo and sequence.sampling.logprobs is not None:
                logits = self.model.head(Tensor(h[i : i + 1, :count]), self._context([sequence]))
                self._note_prompt(sequence, to_host(logits.data)[0], start)
            if sequence.computed == len(sequence.prompt):
                self.cache.swap(*self.scheduler.prefilled(sequence))
                if sequence.sampling.max_tokens == 0:
                    self._end(sequence, Delta("", (), finish_reason="length"))
                else:
                    ended.append(i)
        self.counts["prompt_tokens"] += int(counts.sum())
        if ended:
            self._give_out([sequences[i] for i in ended], h[like(np.array(ended), h), like(counts[ended] - 1, h)])

    def _answer(self, sequences):
        """One token more for every row that answers: rows 0 ... B - 1 of the cache."""
        ids = np.array([[s.tokens[-1]] for s in sequences], dtype=np.int64)  # (B, 1)
        self._give_out(sequences, self._hidden(ids, slice(0, len(sequences)), sequences, 1)[:, -1])

    def _hidden(self, ids, which, sequences, counts):  # (B, T) -> (B, T, d)
        rows = self.cache.of(which)
        positions = rows.starts[:, None] + np.arange(ids.shape[1], dtype=np.int64)
        context = replace(self._context(sequences), cache=rows, positions=positions, mask=rows.mask(ids.shape[1]))
        h = self.model.hidden(ids, context)
        self.cache.advance(which, counts)
        return h.data

    def _context(self, sequences):
        names = [BASE if s.lease is None else s.lease.key for s in sequences]
        if all(name == BASE for name in names):
            return Context()
        return Context(rows=Rows(names, self.pool.resident, [s.scale for s in sequences]), memo={})

    def _give_out(self, sequences, h):  # [Sequence], (B, d)
        """Choose a token for each row; rows that end leave."""
        logits = to_host(self.model.head(Tensor(h), self._context(sequences)).data)  # (B, V)
        for sequence, row in zip(list(sequences), logits, strict=True):
            try:
                token = self._choose(sequence, row)
            except ConfigError as error:
                self._end(sequence, Delta("", (), finish_reason="error", error=error))
                continue
            self.counts["generation_tokens"] += 1
            asked = sequence.sampling.logprobs
            delta = sequence.accept(token, None if asked is None else logprob_of(row, token, asked))
            if delta.finish_reason:
                self._end(sequence, delta)
            else:
                sequence.give(delta)

    @staticmethod
    def _choose(sequence, logits):  # (V,) -> int
        sampling = sequence.sampling
        chosen = sample_tokens(logits[None], sampling.temperature, sampling.top_k, sampling.top_p, [sequence.generator])
        return int(chosen[0])

    @staticmethod
    def _note_prompt(sequence, logits, start):  # (T, V) of the places start, start + 1, ...
        if start == 0:
            sequence.prompt_logprobs.append(Logprob(int(sequence.prompt[0]), None))
        for place, row in enumerate(logits, start=start + 1):
            if place < len(sequence.prompt):
                token, asked = int(sequence.prompt[place]), sequence.sampling.logprobs
                sequence.prompt_logprobs.append(logprob_of(row, token, asked))

    def _end(self, sequence, delta):
        for source, target in self.scheduler.remove(sequence) if self._is_here(sequence) else ():
            self.cache.move(source, target)
        self.pool.release(sequence.lease)
        with self._lock:
            self._open -= 1
        self.counts[f"finished_{delta.finish_reason}"] += 1
        sequence.give(delta)

    def _is_here(self, sequence):
        return sequence.row >= 0 or sequence in self.scheduler.waiting


def together(pieces):  # [(sequence, count)] -> lists of them
    """Pieces that one forward reads: from one place on, and none more than twice as long as another of its list."""
    groups = []
    for sequence, count in sorted(pieces, key=lambda piece: (piece[0].computed, piece[1])):
        first = groups[-1][0] if groups else None
        if first is not None and first[0].computed == sequence.computed and count <= 2 * first[1]:
            groups[-1].append((sequence, count))
        else:
            groups.append([(sequence, count)])
    return groups


def longest(model) -> int:
    """Most tokens of a sequence: the model's places, and its window where it has one."""
    layers = [m.window for _, m in model.named_modules() if getattr(m, "window", None)]
    return min([model.context_length, *layers])


def logprob_of(logits, token: int, count: int) -> Logprob:  # (V,)
    """log softmax of the logits at `token` and at the `count` likeliest tokens."""
    z = logits.astype(np.float64)
    z -= z.max()
    z -= np.log(np.exp(z).sum())
    best = np.argpartition(-z, min(count, len(z) - 1))[:count] if count else []
    best = sorted(best, key=lambda i: (-z[i], i))
    return Logprob(token, float(z[token]), tuple((int(i), float(z[i])) for i in best))

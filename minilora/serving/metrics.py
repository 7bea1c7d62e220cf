"""What a server counts, under vLLM's names where it has one, in Prometheus' text format."""

import threading
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REASONS = ("stop", "length", "abort", "error")  # why answers end


class Metrics:
    """The counters of one server. `text` reads engine and pool at that moment."""

    def __init__(self, model_name: str, engine):
        self.engine, self.registry, self.names = engine, CollectorRegistry(), {"model_name": model_name}
        self._lock = threading.Lock()
        self._seen: dict = {}
        label = list(self.names)

        def made(kind, name, text, labels=(), **options):
            metric = kind(name, text, [*label, *labels], registry=self.registry, **options)
            return metric if labels else metric.labels(**self.names)

        self.first_token = made(Histogram, "vllm:time_to_first_token_seconds", "Until the first token", buckets=SECONDS)
        self.between = made(Histogram, "vllm:inter_token_latency_seconds", "Between two tokens", buckets=SECONDS)
        self.whole = made(Histogram, "vllm:e2e_request_latency_seconds", "A whole request", buckets=SECONDS)
        self.load = made(Histogram, "minilora:lora_load_seconds", "Reading an adapter", buckets=SECONDS)
        self.success = made(Counter, "vllm:request_success", "Answers that ended", ["finished_reason"])
        self.prompt = made(Counter, "vllm:prompt_tokens", "Tokens of prompts that were read")
        self.generated = made(Counter, "vllm:generation_tokens", "Tokens that were generated")
        self.running = made(Gauge, "vllm:num_requests_running", "Sequences in the batch")
        self.waiting = made(Gauge, "vllm:num_requests_waiting", "Sequences that wait")
        self.cache = made(Gauge, "vllm:kv_cache_usage_perc", "Share of the rows' places that are taken, 0 to 1")
        lora = ["max_lora", "running_lora_adapters", "waiting_lora_adapters"]
        self.lora = Gauge("vllm:lora_requests_info", "When adapters ran or waited last", lora, registry=self.registry)
        self.memory = made(Gauge, "minilora:lora_memory_bytes", "Bytes of the adapters in memory")
        self.resident = made(Gauge, "minilora:lora_adapters_resident", "Adapters in memory")
        self.slots = made(Gauge, "minilora:lora_slots_used", "Adapters in slots")
        self.evictions = made(Counter, "minilora:lora_evictions", "Adapters that were evicted from memory")

    def text(self) -> bytes:
        """All of it, in the format that Prometheus reads."""
        engine, pool, scheduler = self.engine, self.engine.pool, self.engine.scheduler
        running, waiting = list(scheduler.running), list(scheduler.waiting)
        with self._lock:  # two readers at once must not count one step twice
            ended = {f"finished_{why}": self.success.labels(**self.names, finished_reason=why) for why in REASONS}
            counts = {"prompt_tokens": self.prompt, "generation_tokens": self.generated} | ended
            for name, counter in counts.items():
                counter.inc(max(0, engine.counts[name] - self._seen.get(name, 0)))
                self._seen[name] = engine.counts[name]
            self.evictions.inc(pool.evictions - self._seen.get("evictions", 0))
            self._seen["evictions"] = pool.evictions
            self.lora.clear()
            names = (",".join(sorted({s.adapter for s in some if s.adapter})) for some in (running, waiting))
            self.lora.labels(str(pool.max_loras), *names).set(time.time())
        self.running.set(len(running))
        self.waiting.set(len(waiting))
        taken = sum(int(engine.cache.lengths[s.row]) for s in running if s.row >= 0)
        self.cache.set(taken / (len(engine.cache.lengths) * engine.cache.places))
        versions = list(pool.versions.values())
        self.memory.set(sum(v.bytes for v in versions))
        self.resident.set(len(versions))
        self.slots.set(len(pool.active))
        return generate_latest(self.registry)

"""Counters and histograms under vLLM's names, and their Prometheus text. Gauges are read from the engine."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")

_SECONDS = (2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_SMALL_DELAYS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0)
_FIRST_TOKEN_BUCKETS = (*_SMALL_DELAYS, *_SECONDS, 160.0, 640.0, 2560.0)
_BETWEEN_TOKENS_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, *_SECONDS)
_SHORT_LATENCIES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_LATENCY_BUCKETS = (*_SHORT_LATENCIES, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)


class Histogram:
    """Counts observations by bucket."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, or several equal ones."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Metrics:
    """What one stand-in has counted since it started."""

    def __init__(self, model: str) -> None:
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.rejections = 0
        self.finished = dict.fromkeys(FINISH_REASONS, 0)
        self.first_token = Histogram(_FIRST_TOKEN_BUCKETS)
        self.between_tokens = Histogram(_BETWEEN_TOKENS_BUCKETS)
        self.queue_time = Histogram(_LATENCY_BUCKETS)
        self.whole_request = Histogram(_LATENCY_BUCKETS)
        self._labels = {"engine": "0", "model_name": model}
        self._created = time.time()

    def render(self, gauges: Mapping[str, float]) -> str:
        """Write everything as Prometheus text, the gauges first."""
        lines = [line for name, value in gauges.items() for line in self._write_gauge(name, value)]
        for name, by_label in self._list_counters().items():
            lines += self._write_counter(name, by_label)
        for name, histogram in self._list_histograms().items():
            lines += self._write_histogram(name, histogram)
        return "\n".join(lines) + "\n"

    def _list_counters(self) -> dict[str, dict[tuple[str, str] | None, float]]:
        return {
            "num_preemptions": {None: 0},
            "prompt_tokens": {None: self.prompt_tokens},
            "generation_tokens": {None: self.generation_tokens},
            "prefix_cache_queries": {None: self.prompt_tokens},
            "prefix_cache_hits": {None: 0},
            "request_success": {("finished_reason", reason): n for reason, n in self.finished.items()},
            "admission_rejections": {("reason", "max_num_queued_reqs"): self.rejections},
        }

    def _list_histograms(self) -> dict[str, Histogram]:
        return {
            "time_to_first_token_seconds": self.first_token,
            "inter_token_latency_seconds": self.between_tokens,
            "e2e_request_latency_seconds": self.whole_request,
            "request_queue_time_seconds": self.queue_time,
        }

    def _write_gauge(self, name: str, value: float) -> Iterator[str]:
        yield f"# HELP vllm:{name} As in vLLM."
        yield f"# TYPE vllm:{name} gauge"
        yield f"vllm:{name}{_write_labels(self._labels)} {float(value)}"

    def _write_counter(self, name: str, by_label: dict[tuple[str, str] | None, float]) -> Iterator[str]:
        yield f"# HELP vllm:{name}_total As in vLLM."
        yield f"# TYPE vllm:{name}_total counter"
        for label, value in by_label.items():
            yield f"vllm:{name}_total{_write_labels(self._label(name, label))} {float(value)}"
        yield f"# HELP vllm:{name}_created As in vLLM."
        yield f"# TYPE vllm:{name}_created gauge"
        for label in by_label:
            yield f"vllm:{name}_created{_write_labels(self._label(name, label))} {self._created}"

    def _label(self, name: str, label: tuple[str, str] | None) -> dict[str, str]:
        labels = {**self._labels, **dict([label] if label else [])}
        if name == "admission_rejections":
            del labels["engine"]  # counted by vLLM's front end, which has no engine
        return labels

    def _write_histogram(self, name: str, histogram: Histogram) -> Iterator[str]:
        yield f"# HELP vllm:{name} As in vLLM."
        yield f"# TYPE vllm:{name} histogram"
        counts = list(accumulate(histogram.counts))
        for bound, count in zip([*map(str, histogram.bounds), "+Inf"], counts, strict=True):
            yield f"vllm:{name}_bucket{_write_labels({**self._labels, 'le': bound})} {float(count)}"
        yield f"vllm:{name}_count{_write_labels(self._labels)} {float(counts[-1])}"
        yield f"vllm:{name}_sum{_write_labels(self._labels)} {histogram.total}"
        yield f"# HELP vllm:{name}_created As in vLLM."
        yield f"# TYPE vllm:{name}_created gauge"
        yield f"vllm:{name}_created{_write_labels(self._labels)} {self._created}"


def _write_labels(labels: Mapping[str, str]) -> str:
    escaped = {name: value.replace("\\", r"\\").replace('"', r"\"") for name, value in sorted(labels.items())}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"

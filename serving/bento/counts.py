"""What a service counts for Prometheus.

Plain numbers of the event loop's one thread: those of the client library take a lock for each.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


class Histogram:
    """How many values there were in each bucket, and their sum."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        """A bucket has the values up to its bound; what is larger than all has one more."""
        self._name, self._text, self._bounds = name, text, [*bounds, float("inf")]
        self._counts, self._sum = [0] * len(self._bounds), 0.0
        REGISTRY.register(self)

    def observe(self, value: float) -> None:
        """Count the value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        bounds = map(floatToGoString, self._bounds)
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets, self._sum)


class Counter:
    """How often there was each value of a label."""

    def __init__(self, name: str, text: str, label: str, values: Sequence[int]) -> None:
        self._name, self._text, self._label = name, text, label
        self._counts = dict.fromkeys(values, 0)
        REGISTRY.register(self)

    def count(self, value: int) -> None:
        """Count the value, which is one of the known ones."""
        self._counts[value] += 1

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        family = CounterMetricFamily(self._name, self._text, labels=[self._label])
        for value, count in self._counts.items():
            family.add_metric([str(value)], count)
        yield family

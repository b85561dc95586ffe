"""Writes metrics as Prometheus text, or as OpenMetrics with exemplars: trace IDs of requests that a
bucket of a histogram counts.

prometheus_client supports no exemplars if several processes share their metrics. The process that
writes the metrics therefore adds its own exemplars. Source: OpenMetrics 1.0, section "Exemplars".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

_OPENMETRICS = "application/openmetrics-text"

#: Exemplars of a histogram by service, route, status class and upper bound of the bucket.
Exemplars = Mapping[tuple[str, str, str, str], Exemplar]


def upper_bound(buckets: Sequence[float], index: int) -> str:
    """Value of the label `le` of a bucket."""
    bound: str = floatToGoString(buckets[index] if index < len(buckets) else math.inf)  # type: ignore[no-untyped-call]
    return bound


def metrics_type(accept: str) -> str:
    """Content type of the metrics for a client that sends this Accept header."""
    return openmetrics.CONTENT_TYPE_LATEST if _OPENMETRICS in accept else CONTENT_TYPE_LATEST


def exposition(
    registry: CollectorRegistry, accept: str, histogram: str, exemplars: Exemplars
) -> bytes:
    """The metrics of a registry for a client that sends this Accept header. histogram: name of the
    histogram with exemplars.
    """
    if _OPENMETRICS not in accept:
        return generate_latest(registry)
    text: bytes = openmetrics.generate_latest(_WithExemplars(registry, histogram, exemplars))  # type: ignore[no-untyped-call]
    return text


class _WithExemplars:
    """The metrics of a registry, with exemplars."""

    def __init__(self, registry: CollectorRegistry, histogram: str, exemplars: Exemplars) -> None:
        self._registry = registry
        self._histogram = histogram
        self._exemplars = exemplars

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if metric.name == self._histogram:
                metric.samples = [self._sample(sample) for sample in metric.samples]
            yield metric

    def _sample(self, sample: Sample) -> Sample:
        labels = sample.labels
        key = labels["service"], labels["route"], labels["status"], labels.get("le", "")
        exemplar = self._exemplars.get(key)
        return sample if exemplar is None else sample._replace(exemplar=exemplar)

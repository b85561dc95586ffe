"""CloudWatch embedded metric format: log lines from which CloudWatch Logs extracts metrics, without permissions or API calls.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Bounds of the specification: metrics per directive, dimensions per set.
METRICS_MAX = 100

DIMENSIONS_MAX = 30


def line(
    namespace: str,
    at: float,
    metrics: Mapping[str, int],
    dimensions: Mapping[str, str],
    sets: Sequence[Sequence[str]],
    **properties: Any,
) -> dict[str, Any]:
    """Fields of a log line: counts of `metrics` at `at` (Unix seconds), for each set of dimension names in `sets`.

    properties: additional fields for searches, without a metric. Raises ValueError if a bound of the specification is exceeded.
    """
    if not 0 < len(metrics) <= METRICS_MAX or any(len(names) > DIMENSIONS_MAX for names in sets):
        raise ValueError("a line can have 1 to 100 metrics and at most 30 dimensions")
    if {name for names in sets for name in names} - dimensions.keys():
        raise ValueError("a dimension has no value")
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(names) for names in sets],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
    }
    return {"_aws": {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}, **dimensions, **metrics, **properties}

"""CloudWatch's embedded metric format: a log line that CloudWatch Logs counts by itself, without a further permission or call.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: The specification's bounds: metrics in one directive, dimensions in one set.
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
    """The members of one line: counts of `metrics` at `at` (Unix seconds), once for each of `sets` of dimension names.

    properties: kept with the line, for searches; they make no metric. Raises ValueError beyond the specification's bounds.
    """
    if not 0 < len(metrics) <= METRICS_MAX or any(len(names) > DIMENSIONS_MAX for names in sets):
        raise ValueError("a line takes 1 to 100 metrics and 30 dimensions")
    if {name for names in sets for name in names} - dimensions.keys():
        raise ValueError("a dimension has no value")
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(names) for names in sets],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
    }
    return {"_aws": {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}, **dimensions, **metrics, **properties}

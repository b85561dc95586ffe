"""Declarations of metrics."""

from typing import Annotated, Any

import pytest
from gatehouse.platform.metrics import Metrics
from prometheus_client import Counter, Gauge


@pytest.mark.parametrize(
    "hint",
    [Counter, Annotated[Gauge, "Without the aggregation."], Annotated[Counter, 1], int],
    ids=str,
)
def test_metric_without_its_declaration_names_what_to_type(hint: Any) -> None:
    incomplete = type("Incomplete", (Metrics,), {"__annotations__": {"tries": hint}})
    with pytest.raises(TypeError, match=r"metrics\.py: declare tries as Annotated\["):
        incomplete()

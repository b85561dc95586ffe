"""Declarations of metrics."""

import subprocess
import sys
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


def test_supervisor_does_not_import_the_client_of_prometheus() -> None:
    """The client reads the folder of a worker's metrics when it is imported."""
    code = "import sys, gatehouse.platform.supervisor; print('prometheus_client' in sys.modules)"
    command = (sys.executable, "-c", code)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"

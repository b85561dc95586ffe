"""CloudWatch's embedded metric format."""

from collections import Counter
from typing import Any

import pytest
from gatehouse.features.usage.cloudwatch_metrics import (
    CORES_MAX,
    METRICS_INTERVAL_S,
    OTHERS,
    UsageMetrics,
)
from gatehouse.features.usage.models import UsageBatch, UsageRow
from jsonschema import validate  # type: ignore[import-untyped]

from tests.runtime.clocks import ManualClock

MINUTE = 1_800_014_400
# The JSON schema of the page "Specification: Embedded metric format" in the CloudWatch user guide.
TEXT: dict[str, Any] = {"type": "string"}


def objects(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def arrays(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


METRIC = objects("Name", Name=TEXT, Unit={"enum": ["Count"]})
DIRECTIVE = objects(
    *("Namespace", "Dimensions", "Metrics"),
    Namespace={**TEXT, "minLength": 1, "maxLength": 1024},
    Dimensions=arrays(arrays({**TEXT, "maxLength": 250}, maxItems=30), minItems=1),
    Metrics=arrays(METRIC),
)
METADATA = {"Timestamp": {"type": "integer"}, "CloudWatchMetrics": arrays(DIRECTIVE)}
SCHEMA = objects("_aws", _aws=objects(*METADATA, **METADATA))


class Recorder:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.clock = ManualClock(float(MINUTE))
        self.metrics = UsageMetrics("Gatehouse/test", self.clock, self.lines.append)

    def add(self, *rows: UsageRow) -> None:
        self.metrics.add(UsageBatch("w", 1, self.clock.now(), rows))

    def sums(self) -> Counter[tuple[str, str, str]]:
        """Sums that CloudWatch computes, keyed by metric, dimension and value of the dimension."""
        result: Counter[tuple[str, str, str]] = Counter()
        for line in self.lines:
            for directive in line["_aws"]["CloudWatchMetrics"]:
                for names in directive["Dimensions"]:
                    for metric in directive["Metrics"]:
                        dimension = names[0] if names else ""
                        result[metric["Name"], dimension, line.get(dimension, "")] += line[
                            metric["Name"]
                        ]
        return result


def row(
    code: str = "VALID", count: int = 1, *, key: str = "k", core: str = "docs", minute: int = MINUTE
) -> UsageRow:
    return UsageRow(key, core, code, minute, count)


def test_use_is_counted_by_code_and_core() -> None:
    recorder = Recorder()
    recorder.add(row(count=5), row("RATE_LIMITED", 2), row("NOT_FOUND", 3, key="", core=""))
    recorder.metrics.flush()
    assert recorder.sums() == {
        ("KeyDecisions", "", ""): 10,
        ("KeyDecisions", "Code", "VALID"): 5,
        ("KeyDecisions", "Code", "RATE_LIMITED"): 2,
        ("KeyDecisions", "Code", "NOT_FOUND"): 3,
        ("CoreRequests", "Core", "docs"): 7,
    }
    for line in recorder.lines:
        validate(line, SCHEMA)
        assert line["_aws"]["Timestamp"] == MINUTE * 1000
        assert "code" not in line  # a member of request lines


def test_late_count_belongs_to_its_minute() -> None:
    recorder = Recorder()
    recorder.add(row(minute=MINUTE - 60), row())
    recorder.metrics.flush()
    assert {line["_aws"]["Timestamp"] for line in recorder.lines if "Code" in line} == {
        (MINUTE - 60) * 1000,
        MINUTE * 1000,
    }


def test_lines_are_written_once_per_interval() -> None:
    recorder = Recorder()
    recorder.add(row())
    assert recorder.lines == []
    recorder.clock.correct(-3600)
    recorder.clock.advance(METRICS_INTERVAL_S)
    recorder.add(row())
    assert recorder.sums()["KeyDecisions", "", ""] == 2
    recorder.metrics.flush()
    assert recorder.sums()["KeyDecisions", "", ""] == 2


@pytest.mark.bound("usage.cloudwatch_metrics:CORES_MAX")
def test_number_of_metrics_is_bounded() -> None:
    recorder = Recorder()
    for number in range(200):
        recorder.add(row(key=f"key{number}", core=f"core{number}"))
    recorder.metrics.flush()
    cores = {value for metric, _, value in recorder.sums() if metric == "CoreRequests"}
    assert (len(cores), OTHERS in cores) == (CORES_MAX + 1, True)
    assert recorder.sums()["CoreRequests", "Core", OTHERS] == 200 - CORES_MAX
    assert "key1" not in {value for _, _, value in recorder.sums()}

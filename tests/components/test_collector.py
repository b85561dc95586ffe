"""The collector beside a process is locked down, listens inside its task alone, and may send traces and metrics and no more."""

import json
from typing import Any

import pytest

from components.compute.otel_collector import collector_configuration
from components.contract import read
from tests.components.program import Program, run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

DIGEST = "sha256:" + "2" * 64
SERVING = ("gateway", "console")


def program(*, preview: bool = False) -> Program:
    return run("dev", preview=preview, changes=json.dumps({"telemetry.collector_digest": DIGEST}))


def containers(of: Program, process: str) -> list[dict[str, Any]]:
    return list(json.loads(of.one("ecs/taskDefinition:TaskDefinition", process).inputs["containerDefinitions"]))


@pytest.mark.parametrize("process", SERVING)
def test_a_process_that_serves_has_a_collector_by_digest_and_lives_without_it(process: str) -> None:
    own, beside = containers(program(), process)
    assert (own["name"], own["essential"], beside["essential"]) == (process, True, False)
    assert beside["image"].endswith(f"gatehouse-dev-collector@{DIGEST}")
    assert [one["name"] for one in containers(run("dev"), process)] == [process], "none runs no collector"
    assert [one["name"] for one in containers(program(), "migrate")] == ["migrate"]


@pytest.mark.parametrize("process", SERVING)
def test_the_collector_is_locked_down_like_the_process(process: str) -> None:
    own, beside = containers(program(), process)
    for same in ("privileged", "readonlyRootFilesystem", "linuxParameters"):
        assert beside[same] == own[same], same
    assert beside["user"].split(":")[0] not in ("0", own["user"].split(":")[0])
    assert beside["logConfiguration"]["options"]["mode"] == "non-blocking"


@pytest.mark.parametrize("process", SERVING)
def test_the_collector_reads_each_door_and_listens_inside_its_task_alone(process: str) -> None:
    services = read().processes[process].services
    document = collector_configuration("eu-west-1", "dev", process, services, "/gatehouse/dev/x")
    (job,) = document["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{service.port}" for service in services]
    listening = [document["extensions"]["health_check"], *document["receivers"]["otlp"]["protocols"].values()]
    assert all(place["endpoint"].startswith("127.0.0.1:") for place in listening)
    for pipeline in document["service"]["pipelines"].values():
        assert set(pipeline["receivers"]) <= set(document["receivers"])
        assert set(pipeline["processors"]) <= set(document["processors"])
        assert set(pipeline["exporters"]) <= set(document["exporters"])


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize("process", SERVING)
def test_the_collector_adds_two_permissions_and_a_repository_and_only_when_it_runs(process: str) -> None:
    def allowed(of: Program, role: str) -> dict[str, Any]:
        policy = json.loads(of.one("iam/rolePolicy:RolePolicy", role).inputs["policy"])
        return {statement["Sid"]: statement for statement in policy["Statement"]}

    on, off = (allowed(of, f"{process}-task") for of in (program(), run("dev")))
    assert set(on) - set(off) == {"SendTraces", "WriteLog"}
    assert on["SendTraces"]["Action"] == ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    assert on["WriteLog"]["Resource"] == [
        f"arn:aws:logs:eu-west-1:123456789012:log-group:/gatehouse/dev/{process}:log-stream:otel-metrics"
    ]
    pulled = [allowed(of, f"{process}-execution")["PullImage"]["Resource"] for of in (program(), run("dev"))]
    assert [arn.rpartition("/")[2] for arn in pulled[0]] == ["gatehouse-dev-runtime", "gatehouse-dev-collector"]
    assert [arn.rpartition("/")[2] for arn in pulled[1]] == ["gatehouse-dev-runtime"]


def test_every_document_with_a_collector_is_known_before_anything_exists() -> None:
    assert len(program(preview=True).documents()) > len(run("dev", preview=True).documents())

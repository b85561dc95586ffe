"""OpenTelemetry collector sidecar."""

import re

import pytest

from components.compute.environment import TRACES_ENDPOINT
from components.compute.task_definition import COLLECTOR_DIGEST, collector_configuration
from components.contract import read
from components.naming import Naming
from tests.components.program import ROOT, run

SERVING = ("gateway", "console")


@pytest.mark.parametrize("process", SERVING)
def test_collector_scrapes_services_and_listens_on_localhost(process: str) -> None:
    definition = read().processes[process]
    document = collector_configuration(definition, Naming("dev", "123456789012", "eu-west-1"))
    (job,) = document["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [
        f"127.0.0.1:{service.port}" for service in definition.services
    ]
    assert (job["scheme"], job["tls_config"]["insecure_skip_verify"]) == ("https", True)
    listening = [
        document["extensions"]["health_check"],
        *document["receivers"]["otlp"]["protocols"].values(),
    ]
    assert all(listener["endpoint"].startswith("127.0.0.1:") for listener in listening)
    for pipeline in document["service"]["pipelines"].values():
        assert set(pipeline["receivers"]) <= set(document["receivers"])
        assert set(pipeline["processors"]) <= set(document["processors"])
        assert set(pipeline["exporters"]) <= set(document["exporters"])


@pytest.mark.parametrize(
    ("stack", "has_collector"), [("dev", False), ("staging", True), ("prod", True)]
)
def test_staging_and_prod_have_a_collector_that_receives_traces(
    stack: str, has_collector: bool
) -> None:
    deployment = run(stack)
    for process in SERVING:
        application, *sidecars = deployment.containers(process)
        variables = {entry["name"]: entry["value"] for entry in application["environment"]}
        assert variables["GATEHOUSE_TRACES_ENDPOINT"] == (TRACES_ENDPOINT if has_collector else "")
        assert variables["GATEHOUSE_TRACES_SAMPLE_PERCENT"] == "1"
        repository = application["image"].partition("@")[0]
        collector = f"{repository}@{COLLECTOR_DIGEST}"
        assert [sidecar["image"] for sidecar in sidecars] == [collector] * has_collector
    document = collector_configuration(
        read().processes["gateway"], Naming(stack, "123456789012", "eu-west-1")
    )
    endpoint = document["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert f"http://{endpoint}/v1/traces" == TRACES_ENDPOINT
    assert document["service"]["pipelines"]["traces"]["exporters"] == ["awsxray"]


def test_guide_lists_spans_of_every_process_and_function() -> None:
    guide = (ROOT / "docs" / "guides" / "operate.md").read_text()
    table = guide.partition("| process or function |")[2].partition("\n\n")[0]
    rows = re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| [^|]+", table, re.MULTILINE)))
    functions = {file.stem for file in (ROOT / "runtime" / "functions").glob("*.py")}
    assert sorted(rows) == sorted(
        {*read().processes, *read(functions=["sharing"]).functions, *functions}
    )
    deployed = {
        function.name: function.inputs["tracingConfig"]
        for function in run("staging").of_type("lambda.Function")
    }
    assert deployed == {name: {"mode": "Active"} for name in ("sharing", *functions)}

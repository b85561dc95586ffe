"""Rules for source files that the linter does not check."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from tests import processes

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "clients/pulumi",
    "clients/python",
    "components",
    "policies",
    "pulumi_local",
    "sandbox",
    "release",
    "tools",
    "runtime/gatehouse",
    "runtime/functions",
)
SOURCES = {
    path: path.read_text()
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
#: Folders of the product, and the folders of their tests.
TESTED = {
    "clients/pulumi/gatehouse_pulumi": "tests/clients/pulumi",
    "clients/python/gatehouse_client": "tests/clients/python",
    "components": "tests/components",
    "policies/gatehouse_policies": "tests/policies",
    "pulumi_local/pulumi_local": "tests/pulumi_local",
    "release": "tests/release",
    "runtime/functions": "tests/runtime/functions",
    "runtime/gatehouse": "tests/runtime",
    "sandbox": "tests/sandbox",
}
#: Folders whose tests are those of another folder.
TESTED_ELSEWHERE = {
    "clients/python/gatehouse_client/*": "clients/python/test_gateway.py",
    "components/stack": "components/test_program.py",
    "policies/gatehouse_policies/packs/*": "policies/engine/test_pack.py",
    "policies/gatehouse_policies/rules/*": "policies/rules/test_rules.py",
    "sandbox/emulator/resources": "sandbox/emulator/test_prod_stack.py",
}


def offenders(paths: list[Path]) -> list[str]:
    assert len(SOURCES) > 100
    return [str(path.relative_to(ROOT)) for path in paths]


def folders_with(files: str, tree: str) -> set[Path]:
    return {path.parent for path in (ROOT / tree).rglob(files) if path.stem != "__init__"}


def test_folders_have_their_tests_in_the_same_path() -> None:
    """The tests of a folder are in the folder with its path, or in `test_<folder>.py` above it."""
    for product, tests in TESTED.items():
        sources = {
            ROOT / tests / folder.relative_to(ROOT / product): folder.relative_to(ROOT).as_posix()
            for folder in folders_with("*.py", product)
        }
        tested = folders_with("test_*.py", tests)
        for folder, source in sources.items():
            own = folder in tested or folder.with_name(f"test_{folder.name}.py").is_file()
            elsewhere = [file for path, file in TESTED_ELSEWHERE.items() if fnmatch(source, path)]
            assert own != bool(elsewhere), f"{source} has no tests in {folder.relative_to(ROOT)}/"
            assert all((ROOT / "tests" / file).exists() for file in elsewhere), elsewhere
        assert tested <= {*sources, *(ROOT / other for other in TESTED.values())}


def test_tables_contain_data_only() -> None:
    """No TOML file of the product has a string with a name of a value, such as `{prefix}`, or of a
    function, such as `module:function`: this is Python, which the type checker reads.
    """
    name = re.compile(r"\{[\w.\[\]]+\}|^[a-z_]+:[a-z_]+$")
    tables = [path for package in PACKAGES for path in (ROOT / package).rglob("*.toml")]
    texts = {path: _strings(tomllib.loads(path.read_text())) for path in tables}
    assert len(texts) > 5
    assert [path for path in texts if any(map(name.search, texts[path]))] == []


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def test_services_of_the_program_are_typed() -> None:
    """mypy does not read the other services of pulumi_aws: their classes would be `Any`."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    [typed] = [row["module"] for row in overrides if row.get("follow_imports") == "normal"]
    used = {
        f"pulumi_aws.{service}.*"
        for folder in ("components", "account")
        for path in (ROOT / folder).rglob("*.py")
        for service in re.findall(r"\baws\.([a-z]\w*)\.[A-Z]", path.read_text())
    }
    assert len(used) > 30
    assert used - {*typed} == set(), "add these to the list in pyproject.toml"


def test_policies_have_the_dependencies_of_the_package_in_their_wheel() -> None:
    policies, package = (
        {*tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["dependencies"]}
        for folder in ("policies", "pulumi_local")
    )
    assert package - policies == set(), "add these to policies/pyproject.toml"


def test_every_route_of_the_web_ui_has_a_screen() -> None:
    source = ROOT / "runtime/web/src"
    routes = {*re.findall(r"\{ name: '([\w-]+)'", (source / "routes.ts").read_text())}
    screens = (source / "router.ts").read_text().partition("const SCREENS")[2].partition("\n}")[0]
    shown = {*re.findall(r"^  '?([\w-]+)'?: ", screens, re.MULTILINE)}
    assert len(shown) > 20
    assert routes - shown == set(), "add a screen to SCREENS in runtime/web/src/router.ts"
    assert shown - routes == set(), "add a path to runtime/web/src/routes.ts"


def test_no_work_is_left_undone() -> None:
    marker = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    assert offenders([path for path, text in SOURCES.items() if marker.search(text)]) == []


def test_pages_named_in_sources_exist() -> None:
    """Errors, help texts and comments name pages, which can be split or renamed."""
    files = processes.run(["git", "ls-files"], cwd=ROOT, check=True).stdout.splitlines()
    kinds = {".py", ".toml", ".ts", ".vue", ".go", ".yaml", ".yml", ".sh", ".sql", ".j2"}
    pages = re.compile(r"(?<![\w./-])docs/(?:[\w-]+/)*[\w-]+\.(?:md|sh|json)\b")
    named: dict[str, str] = {}
    for path in (ROOT / file for file in files):
        # The requirements are a page of the site only.
        if path.suffix in kinds and path.is_file() and path != ROOT / "tools/site/build.py":
            named |= dict.fromkeys(pages.findall(path.read_text()), str(path))
    assert len(named) > 15
    assert {page: file for page, file in named.items() if not (ROOT / page).exists()} == {}


def test_engine_installs_packages_with_uv() -> None:
    """With another toolchain, `pulumi preview` on a fresh clone finds no packages."""
    projects = [
        path
        for pattern in ("Pulumi.yaml", "examples/*/Pulumi.yaml", "policies/*/PulumiPolicy.yaml")
        for path in ROOT.glob(pattern)
    ]
    runtimes = {project: yaml.safe_load(project.read_text())["runtime"] for project in projects}
    # The example of keys as code is run in the environment of the user's program.
    in_python = {project: each for project, each in runtimes.items() if isinstance(each, dict)}
    others = {project.parent.name: each for project, each in runtimes.items() if each != "yaml"}
    assert [name for name, each in others.items() if isinstance(each, str)] == ["keys-as-code"]
    assert len(in_python) >= 4
    for project, runtime in in_python.items():
        assert (runtime["name"], runtime["options"]["toolchain"]) == ("python", "uv"), project


GITHUB = ROOT / ".github"


def test_issue_forms_have_the_keys_that_github_requires() -> None:
    forms = [path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"]
        assert form["description"]
        fields = [row for row in form["body"] if row["type"] != "markdown"]
        assert all(row["attributes"]["label"] for row in fields)
        assert len({row["id"] for row in fields}) == len(fields) > 1
        assert any(row.get("validations", {}).get("required") for row in fields)


def test_code_owners_name_no_account() -> None:
    """GitHub would request reviews of a stranger in each copy of the repository."""
    rules = (GITHUB / "CODEOWNERS").read_text().splitlines()
    assert [line for line in rules if line and not line.startswith("#")] == []
    paths = [line.split()[1] for line in rules if line.startswith("# /")]
    assert len(paths) > 3
    assert [path for path in paths if not (ROOT / path.strip("/")).is_dir()] == []

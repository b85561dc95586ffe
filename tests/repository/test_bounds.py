"""Every wait and buffer has a bound, which a test exceeds (marker `bound`)."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gatehouse.platform.settings import Settings

from tests.repository.markers import marked_tests

RUNTIME = Path(__file__).resolve().parents[2] / "runtime" / "gatehouse"
MODULES = sorted(RUNTIME.rglob("*.py"))
SETTING = re.compile(r".*(?:timeout_s|timeout_ms|staleness_ms|_max|max_bytes|_size|_per_minute)")
CONSTANT = re.compile(
    r"_?(?:.*_)?(?:TIMEOUT_S|LINGER_S|HANDSHAKE_S|END_S|STOP_S|PARALLEL|AT_ONCE|BATCH|BATCH_SIZE|HIGH_BYTES|PART_BYTES|READ_BYTES"
    r"|FLUSH_LINES|(?<!CHARS_)MAX)"
)
#: Modules whose constants bound values of requests, commands or agents.
VALUES = {"fields", "models", "schemas"}
FOLDERS = ("client", "commands", "features/transfer", "platform/db")
#: Names with the form of a bound that bound values, or work that a job divides into parts.
OTHER = {
    "gateway.completions:_READ_BYTES",
    "response_timeout_s",  # of a response that Envoy has received, and the kernel cannot keep
    "gateway.clusters:HEALTH_TIMEOUT_S",
    "audit.routes:_BATCH",
    "core.cores:INSTANCES_MAX",
    "core.http_signatures:AGE_S_MAX",
    "core.http_signatures:AHEAD_S_MAX",
    "core.http_signatures:COMPONENTS_MAX",
    "core.keys:CREDITS_MAX",
    "core.lifecycle:GRACE_S_MAX",
    "core.lifecycle:TTL_S_MAX",
    "session_idle_timeout_s",
    "secrets.table:_BATCH",
    "secrets.worker:BATCH",
    "secrets.worker:RETRY_S_MAX",
}
#: Functions that are called with types, or without arguments.
CONSTANT_FUNCTIONS = {"_type_info", "_decoder", "_has_checks", "_arrays", "_encoded"}


def named(paths: Iterable[Path]) -> Iterator[str]:
    """The constants as `folder.module:NAME`. A package stands for its `__init__.py`."""
    for path in paths:
        parts = path.relative_to(RUNTIME.parent).with_suffix("").parts
        module = ".".join(parts[:-1][-2:] if path.stem == "__init__" else parts[-2:])
        yield from (f"{module}:{name}" for name in constants(path))


def candidates() -> Iterator[str]:
    yield from (name for name in Settings.model_fields if SETTING.fullmatch(name))
    excluded = {path for folder in FOLDERS for path in (RUNTIME / folder).rglob("*.py")}
    paths = (path for path in MODULES if path.stem not in VALUES and path not in excluded)
    yield from (name for name in named(paths) if CONSTANT.fullmatch(name.partition(":")[2]))


def constants(path: Path) -> Iterator[str]:
    for statement in ast.parse(path.read_text()).body:
        if not isinstance(statement, ast.Assign) or isinstance(
            getattr(statement.value, "value", None), str
        ):
            continue
        for target in statement.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (name.id for name in names if isinstance(name, ast.Name))


def test_every_bound_is_exceeded_by_a_test() -> None:
    found, marked = set(candidates()), set(marked_tests("bound"))
    assert len(found) > 90
    assert found - marked - OTHER == set(), (
        "mark a test that exceeds the bound: @pytest.mark.bound(...)"
    )


def test_marked_bounds_exist() -> None:
    assert set(marked_tests("bound")) - {*Settings.model_fields, *named(MODULES)} == set()


def test_exceptions_exist_and_have_no_marker() -> None:
    assert OTHER - set(candidates()) == set()
    assert OTHER.isdisjoint(marked_tests("bound"))


def test_caches_of_functions_are_small() -> None:
    """A cache of data from requests has a maximum size, which `cache` does not have."""
    sizes, unlimited = [], set()
    for path in MODULES:
        text = path.read_text()
        sizes += [int(size) for size in re.findall(r"@lru_cache\(maxsize=([0-9_]+)\)", text)]
        assert text.count("@lru_cache") == len(
            re.findall(r"@lru_cache\(maxsize=[0-9_]+\)", text)
        ), path
        unlimited |= set(re.findall(r"@cache\n *def ([a-z_]+)", text))
    assert len(sizes) >= 5
    assert max(sizes) <= 4096
    assert unlimited == CONSTANT_FUNCTIONS

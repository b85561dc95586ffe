"""docs/security/bounds.md: every wait and every buffer of the runtime, with its bound and the tests that exceed it."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse.platform.settings import PREFIX, Settings

from tools.docs import markdown

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime" / "gatehouse"
TESTS = ROOT / "tests" / "runtime"
DOCUMENT: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SECTIONS = ("clients", "proxy", "keys", "console", "sharing")

_BOUND = re.compile(
    r"_?(?:.*_)?(?:TIMEOUT_S|LINGER_S|HANDSHAKE_S|END_S|STOP_S|PARALLEL|AT_ONCE|BATCH|BATCH_SIZE|HIGH_BYTES|PART_BYTES|READ_BYTES|FLUSH_LINES|(?<!CHARS_)MAX)"
)
_BOUND_SETTING = re.compile(r".*(?:timeout_s|timeout_ms|staleness_ms|_max|max_bytes|_size|_per_minute)")


def page() -> str:
    """One table for each part of the runtime."""
    tables = {section: markdown.table(("subject", "bound", "if exceeded", "tests"), _rows(section)) for section in SECTIONS}
    return markdown.page("bounds", **tables)


def bounds() -> list[dict[str, Any]]:
    """Every declared bound."""
    return [bound for section in SECTIONS for bound in DOCUMENT[section]]


def candidates() -> Iterator[str]:
    """Settings, and constants of the services as `module:constant`, whose names match the pattern of a bound."""
    yield from (name for name in Settings.model_fields if _BOUND_SETTING.fullmatch(name))
    excluded = set(DOCUMENT["other"]["packages"])
    for path in sorted(RUNTIME.rglob("*.py")):
        module = ".".join(path.relative_to(RUNTIME).with_suffix("").parts).removesuffix(".__init__")
        if module.partition(".")[0] in excluded or path.stem in DOCUMENT["other"]["modules"]:
            continue
        yield from (f"{module}:{name}" for name in _constants(path) if _BOUND.fullmatch(name))


def _constants(path: Path) -> Iterator[str]:
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(statement, ast.Assign) or isinstance(getattr(statement.value, "value", None), str):
            continue
        for target in statement.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (name.id for name in names if isinstance(name, ast.Name))


def _rows(section: str) -> Iterator[tuple[str, ...]]:
    for bound in DOCUMENT[section]:
        tests = "<br>".join(f"`{test}`" for test in bound["tests"])
        yield bound["subject"], value(bound["source"]), bound["exceeded"], tests


def value(source: str) -> str:
    """The bound with its unit: the default of a setting, or the value of a constant. Raises AttributeError or KeyError."""
    module, _, name = source.partition(":")
    if name:
        return _with_unit(name.lower(), getattr(importlib.import_module(f"gatehouse.{module}"), name))
    return f"`{PREFIX}{source.upper()}` ({_with_unit(source, Settings.model_fields[source].default)})"


def _with_unit(name: str, number: float) -> str:
    name = name.removesuffix("_max")
    units = {"bytes": " bytes", "chars": " characters", "ms": " ms", "s": " s"}
    unit = " bytes" if "bytes" in name else units.get(name.rpartition("_")[2], "")
    return f"{number:,g}{unit}" if number < 100_000 else f"{int(number):,}{unit}"

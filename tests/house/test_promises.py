"""docs/promises.md tells the truth about which promise is shown by which test."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent


def _promises() -> ModuleType:
    spec = importlib.util.spec_from_file_location("promises", HERE / "promises.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_promises_is_current() -> None:
    module = _promises()
    assert module.PAGE.read_text() == module.page(), "run: .venv/bin/python tests/house/promises.py"


def test_every_marked_promise_exists() -> None:
    module = _promises()
    assert set(module.shown()) <= set(module.promises())

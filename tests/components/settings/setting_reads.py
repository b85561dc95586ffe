"""The settings that a program reads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from components.settings.fields import Section

PACKAGE = "components.settings."


def keys(section: type[Section], path: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield f"{path}{name}"
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from keys(kind, f"{path}{name}.")


@contextmanager
def recorded_reads() -> Iterator[set[str]]:
    """The keys of the settings that a program reads after the checks of its stack file. The keys
    of the entries of a list have no number."""
    reads: set[str] = set()
    # The program imports `components` again, and pydantic not.
    paths: dict[int, tuple[BaseModel, str]] = {}

    def read(section: BaseModel, name: str) -> Any:
        value = object.__getattribute__(section, name)
        kind = type(section)
        if kind.__module__.startswith(PACKAGE) and name in kind.__pydantic_fields__:
            key = f"{paths[id(section)][1]}.{name}" if id(section) in paths else name
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, BaseModel):
                    paths[id(item)] = item, key
            if not _is_check(sys._getframe(1)):
                reads.add(key)
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseModel, "__getattribute__", read)
        yield reads


def _is_check(frame: FrameType | None) -> bool:
    while frame is not None and str(module := frame.f_globals["__name__"]).startswith(PACKAGE):
        if module == f"{PACKAGE}loader":
            return True
        frame = frame.f_back
    return False

"""Text of the recipient pages, in the languages in `locales/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources

DEFAULT = "en"


def _load() -> dict[str, Mapping[str, str]]:
    files = (resources.files("gatehouse.services.sharing") / "locales").iterdir()
    return {
        file.name.removesuffix(".json"): json.loads(file.read_text("utf-8"))
        for file in files
        if file.name.endswith(".json")
    }


#: Text by language and name.
TEXTS: Mapping[str, Mapping[str, str]] = _load()


def language(accept_language: str) -> str:
    """Return the best available language for an Accept-Language header (RFC 9110, section
    12.5.4).
    """
    best, best_quality = DEFAULT, 0.0
    for part in accept_language[:200].split(","):
        tag, _, parameter = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if name in TEXTS and quality > best_quality:
            best, best_quality = name, quality
    return best

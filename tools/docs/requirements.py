"""docs/requirements.md: where each requirement is shown."""

import tomllib
from pathlib import Path

from tools.docs import markdown

REQUIREMENTS = Path(__file__).resolve().parents[2] / "tests/requirements.toml"


def page() -> str:
    texts = tomllib.loads(REQUIREMENTS.read_text())
    shown: dict[str, list[str]] = texts.pop("shown")
    rows = []
    for id, text in texts.items():
        document, test = shown[id]
        file, _, name = test.partition("::")
        name = name or Path(file).stem
        title = Path(document.partition("#")[0]).stem
        rows.append((id, text, f"[{title}]({document})", f"[`{name}`](../tests/{file})"))
    return markdown.page("requirements", table=markdown.table(("ID", "text", "page", "test"), rows))

"""The guide reader detects output that differs from the page."""

from pathlib import Path

import pytest

from tests.journeys.guide_reader import GuideReader, OutputDiffers, Values

EXPECTED = "gtk_test_3fGh82kLmQ0a..."
ACTUAL = "gtk_test_ZZZZ82kLmQ0aXYZ"


def read(folder: Path, page: str) -> int:
    reader = GuideReader(folder, {}, {})
    try:
        return reader.run(page)
    finally:
        reader.close()


def test_output_is_compared(tmp_path: Path) -> None:
    assert read(tmp_path, "```console run\n$ echo one two\none   two\n```\n") == 1
    with pytest.raises(OutputDiffers, match="expected\none\n"):
        read(tmp_path, "```console run\n$ echo two\none\n```\n")
    with pytest.raises(OutputDiffers):
        read(tmp_path, "```console run\n$ echo more\n```\n")


def test_token_and_id_are_replaced() -> None:
    values = Values()
    values.learn(f"created:\n{EXPECTED}", f"created:\n{ACTUAL}\n")
    assert values.replace(f"curl {EXPECTED} 3fGh82kLmQ0a") == f"curl {ACTUAL} ZZZZ82kLmQ0a"
    values.learn("id 3fGh82kLmQ0a", "id ZZZZ82kLmQ0a")
    with pytest.raises(OutputDiffers):
        values.learn("id 3fGh82kLmQ0a", "id YYYY82kLmQ0a")

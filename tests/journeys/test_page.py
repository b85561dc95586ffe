"""The reader of guides can fail: a page that shows something else than what comes is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.page import Differs, File, Reader, Step, Values, parts

SHOWN = "gtk_test_3fGh82kLmQ0a..."
CAME = "gtk_test_ZZZZ82kLmQ0aXYZ"


def read(folder: Path, page: str) -> int:
    reader = Reader(folder, {}, {})
    try:
        return reader.follow(page)
    finally:
        reader.close()


def test_only_marked_blocks_are_run_and_named_files_are_written() -> None:
    file = "`a.txt`:\n\n```text\nhello\n```\n\n"
    page = f"```console\n$ rm -rf /\n```\n{file}```console run\n$ cat a.txt \\\n  -\nhello\n$ true\n```\n"
    assert parts(page) == [File("a.txt", "hello\n"), Step("cat a.txt \\\n  -", "hello"), Step("true", "")]


def test_what_the_page_shows_is_held_against_what_comes(tmp_path: Path) -> None:
    assert read(tmp_path, "```console run\n$ echo one two\none   two\n```\n") == 1
    with pytest.raises(Differs, match="the page shows\none\n"):
        read(tmp_path, "```console run\n$ echo two\none\n```\n")
    with pytest.raises(Differs):
        read(tmp_path, "```console run\n$ echo more\n```\n")


def test_a_command_that_fails_is_a_failure_unless_the_page_shows_its_error(tmp_path: Path) -> None:
    with pytest.raises(Differs, match="it ends with 3"):
        read(tmp_path, "```console run\n$ exit 3\n```\n")
    error = "```console run\n$ echo 'gatehouse: no such key' >&2; exit {code}\ngatehouse: no such key\n```\n"
    assert read(tmp_path, error.format(code=1)) == 1
    with pytest.raises(Differs, match="it ends with 0"):
        read(tmp_path, error.format(code=0))


def test_a_variable_is_there_for_the_next_command(tmp_path: Path) -> None:
    assert read(tmp_path, "```console run\n$ WHO='the reader'\n$ echo $WHO\nthe reader\n```\n") == 2


def test_a_shown_token_and_its_id_become_the_ones_that_came() -> None:
    values = Values()
    values.learn(f"made it:\n{SHOWN}", f"made it:\n{CAME}\n")
    assert values.put_in(f"curl {SHOWN} 3fGh82kLmQ0a") == f"curl {CAME} ZZZZ82kLmQ0a"
    values.learn("id 3fGh82kLmQ0a", "id ZZZZ82kLmQ0a")
    with pytest.raises(Differs):
        values.learn("id 3fGh82kLmQ0a", "id YYYY82kLmQ0a")


def test_one_shown_value_twice_is_one_value() -> None:
    Values().learn("3fGh82kLmQ0a 3fGh82kLmQ0a", "ZZZZ82kLmQ0a ZZZZ82kLmQ0a")
    with pytest.raises(Differs):
        Values().learn("3fGh82kLmQ0a 3fGh82kLmQ0a", "ZZZZ82kLmQ0a YYYY82kLmQ0a")


def test_a_token_that_belongs_to_another_key_is_refused() -> None:
    values = Values({"3fGh82kLmQ0a": "YYYY82kLmQ0a"})
    with pytest.raises(Differs, match="is not of the key"):
        values.learn(SHOWN, CAME)


def test_a_token_of_another_kind_is_refused() -> None:
    with pytest.raises(Differs):
        Values().learn(SHOWN, CAME.replace("test", "live"))


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    Values().learn('{"valid": true, ... "code": "VALID"}', '{"valid":true,"staleness_ms":12,"code":"VALID"}')
    with pytest.raises(Differs):
        Values().learn('{"valid": true, ...}', '{"valid":false,"code":"NOT_FOUND"}')


def test_a_place_of_the_page_is_the_one_of_the_sandbox() -> None:
    values = Values({"http://127.0.0.1:8080": "http://127.0.0.1:40001"})
    values.learn("gateway http://127.0.0.1:8080", "gateway http://127.0.0.1:40001")
    with pytest.raises(Differs):
        values.learn("gateway http://127.0.0.1:8080", "gateway http://127.0.0.1:8080")


def test_a_command_in_the_background_is_waited_for_and_stopped(tmp_path: Path) -> None:
    page = "```console run\n$ bash -c 'echo ready; echo $$ > pid; sleep 600' &\nready\n```\n"
    reader = Reader(tmp_path, {}, {})
    assert reader.follow(page) == 1
    [child] = reader._running
    assert child.poll() is None
    reader.close()
    assert child.poll() is not None


def test_what_may_come_late_is_asked_for_again(tmp_path: Path) -> None:
    assert read(tmp_path, "```console run again\n$ echo x >> n; wc -l < n\n3\n```\n") == 1


def test_a_block_that_needs_a_program_is_left_out_without_it() -> None:
    assert parts("```console run bash\n$ true\n```\n") == [Step("true", "")]
    assert parts("```console run no_such_program\n$ true\n```\n") == []

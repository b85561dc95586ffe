"""`gatehouse import` and `gatehouse export`."""

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.transfer import file_formats
from gatehouse.platform.aws import object_storage
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.runtime.commands.cli.conftest import Command, Result, generations, importer_command
from tests.runtime.conftest import Database
from tests.runtime.s3_bucket import BUCKET, bucket

_CASES = cases(__file__)

__all__ = ["bucket"]

REGISTRY = (
    "SELECT md5(string_agg(concat_ws(' ', id, digest, state, customer_id, inherits, limits, "
    "scheme), ',' ORDER BY id)) FROM api_key"
)


@pytest.fixture
def importer(tmp_path: Path, database: Database) -> Command:
    database.sql("DELETE FROM core; DELETE FROM api_key; DELETE FROM customer")
    return importer_command(tmp_path, database.app_url, b"p" * 32)


def import_file(
    importer: Command, content: Any, *options: str, name: str = "api_keys.json"
) -> Result:
    (importer.folder / name).write_text(
        content if isinstance(content, str) else json.dumps(content, indent=2)
    )
    return importer.run("import", name, *options)


def count(database: Database, table: str = "api_key") -> int:
    return int(database.sql(f"SELECT count(*) FROM {table}"))  # noqa: S608


def tokens(number: int) -> dict[str, dict[str, str]]:
    return {f"old-token-{index:06d}-abcdef": {"name": f"client {index}"} for index in range(number)}


def test_interrupted_import_resumes(importer: Command, database: Database) -> None:
    # The third batch of 1000 rows fails: PostgreSQL rejects one of its rows.
    database.sql(
        "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.name = "
        "'client 2500' THEN RAISE EXCEPTION 'broken off'; END IF; RETURN NEW; END $$;CREATE "
        "TRIGGER break_off BEFORE INSERT ON api_key FOR EACH ROW EXECUTE FUNCTION break_off()"
    )
    broken = import_file(importer, tokens(3200))
    assert (
        broken.err
        == "gatehouse: The database is not available; start the same import again to resume it.\n"
    )
    assert broken.code == 1
    assert count(database) == 2000
    database.sql("DROP TRIGGER break_off ON api_key; DROP FUNCTION break_off")
    done = import_file(importer, tokens(3200), "--json")
    assert done.code == 0
    assert {name: json.loads(done.out)[name] for name in ("rows", "imported", "existing")} == {
        "rows": 3200,
        "imported": 1200,
        "existing": 2000,
    }
    again = import_file(importer, tokens(3200))
    assert again.out == "api_keys.json (json): 3200 rows, 0 imported, 3200 existing, 0 invalid\n"
    assert count(database) == 3200
    # One event for each of two, four and four batches.
    assert database.sql("SELECT count(*) FROM audit_event WHERE action = 'key.import'") == "10"


def test_repeated_import_under_another_pepper_generation_adds_nothing(
    importer: Command, database: Database
) -> None:
    assert import_file(importer, tokens(2)).code == 0
    database.sql("UPDATE api_key SET state = 'disabled' WHERE name = 'client 0'")
    keys = {str(number): base64.b64encode(b * 32).decode() for number, b in ((1, b"p"), (2, b"q"))}
    pepper = json.dumps({"current": 2, "generations": keys})
    rotated = replace(importer, variables={**importer.variables, "GATEHOUSE_PEPPER": pepper})
    again = import_file(rotated, tokens(3))
    assert again.out == "api_keys.json (json): 3 rows, 1 imported, 2 existing, 0 invalid\n"
    urls = {token: f"https://{number}.example" for number, token in enumerate(tokens(2))}
    assert import_file(rotated, urls, "--cores").code == 0
    owners = "SELECT key.name FROM api_key AS key JOIN core ON registered_by = key.id"
    assert database.sql(owners) == "client 1"


def test_owners_become_customers_with_their_names(importer: Command, database: Database) -> None:
    owners = ("Ümlaut & Söhne", "acme", "umlaut-soehne", None)
    rows = {f"token-of-an-owner-{i}": {"owner": owner} for i, owner in enumerate(owners)}
    assert import_file(importer, rows).code == 0
    assert import_file(importer, {"another-token-1": {"owner": owners[0]}}).code == 0
    names = "SELECT string_agg(name, '|' ORDER BY id) FROM customer"
    assert database.sql(names) == "acme|Ümlaut & Söhne|umlaut-soehne"
    counts = "SELECT string_agg(count, ' ') FROM (SELECT count(*)::text FROM api_key "
    assert database.sql(f"{counts} GROUP BY customer_id ORDER BY count(*)) AS c") == "1 1 1 2"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"owner": "the key a-secret-token-7"}, "customer_name contains a token"),
        ({"owner": "x" * 101}, "customer_name"),
        ({"owner": "acme", "plan": "starter"}, "mutually exclusive"),
        ({"plan": "unknown"}, "is not the name of a plan"),
    ],
)
def test_customer_or_plan_of_a_row_is_invalid(
    importer: Command, database: Database, fields: dict[str, str], message: str
) -> None:
    done = import_file(importer, {"a-secret-token-7": fields})
    assert (done.code > 0, message in done.err) == (True, True), done.err
    assert database.sql("SELECT count(*) FROM customer") == "0"


def test_invalid_row_is_reported_and_stops_the_import(
    importer: Command, database: Database
) -> None:
    done = import_file(importer, {"a-right-key-1": {}, "abcdefgh1": {"uses": 3}, "abcdefgh2": 7})
    assert (done.code, done.err.splitlines()) == (
        1,
        [
            "api_keys.json, row 2: uses is not a known field (remove it, correct its name, or "
            "ignore it: --ignore uses)",
            "api_keys.json, row 3: must be an object (see docs/guides/migrate.md)",
            "Nothing was written. Correct these rows, or add --skip-invalid.",
        ],
    )
    assert count(database) == 0


@pytest.mark.parametrize("encode", ["hex", "base64", "base64url"])
def test_hash_of_a_token_is_the_same_key(
    importer: Command, database: Database, encode: str
) -> None:
    assert import_file(importer, tokens(2)).code == 0
    hashes = [hashlib.sha256(token.encode()).digest() for token in tokens(3)]
    texts = {
        "hex": [digest.hex() for digest in hashes],
        "base64": [base64.b64encode(digest).decode() for digest in hashes],
        "base64url": [base64.urlsafe_b64encode(digest).decode()[:43] for digest in hashes],
    }[encode]
    lines = ["sha256,name", *(f"{text},by hash" for text in texts)]
    done = import_file(importer, "\r\n".join(lines), name="keys.csv")
    assert done.out == (
        "keys.csv (csv with SHA-256 hashes): 3 rows, 1 imported, 2 existing, 0 invalid\n"
    )
    again = import_file(importer, {text: {} for text in texts}, "--sha256", "--json")
    assert {name: json.loads(again.out)[name] for name in ("format", "sha256", "existing")} == {
        "format": "json",
        "sha256": True,
        "existing": 3,
    }
    assert import_file(importer, tokens(3)).out.endswith("0 imported, 3 existing, 0 invalid\n")
    stored = database.sql("SELECT string_agg(api_key.*::text, '') FROM api_key")
    assert not any(digest.hex() in stored for digest in hashes)


def test_wrong_rows_are_named_and_nothing_is_written(importer: Command, database: Database) -> None:
    token = [f"token-of-client-{number:06d}" for number in range(1000)]
    lines = ["token,name,customer_id,scopes,limits,expires_at,plan"]
    lines += [f"{text},client,acme,cores:read,100/60,2031-01-01," for text in token]
    lines[10] = f"{token[3]},client,acme,,,,"
    lines[20] = "short,client,acme,,,,"
    lines[30] = f"{token[29]},client"
    lines[40] = f"{token[39]},client,acme,SCOPE,,,"
    lines[50] = f"{token[49]},client,acme,,x,,"
    lines[60] = f"{token[59]},client,acme,secrets:create,,,"
    lines[70] = f"{token[69]},client,,,,,unknown"
    done = import_file(importer, "\n".join(lines), name="keys.csv")
    problems = [line.removeprefix("keys.csv, row ") for line in done.err.splitlines()[:-1]]
    expected = [
        "11: token is the same as in row 5",
        "21: token is not",
        "31: has 2 cells instead of 7",
        "41: scopes[0] ",
        "51: limits must be",
        "61: customer_id is not possible",
        "71: plan is not the name of a plan",
    ]
    assert [text[: len(start)] for text, start in zip(problems, expected, strict=True)] == expected
    assert not any(text in done.err for text in token)
    assert (done.code, count(database), count(database, "customer")) == (1, 0, 0)


def test_messages_do_not_contain_tokens(importer: Command) -> None:
    secret = "canary0123456789" * 2
    rows = {secret: {"name": secret}, f"{secret} x": {}, f"{secret}y": secret, f"{secret}é": {}}
    for content in (rows, '{"' + secret, f"{secret},a", f"token,name\n{secret},{secret}\n"):
        for options in ((), ("--cores",), ("--sha256",), ("--format", "csv"), ("--format=kong",)):
            done = import_file(importer, content, *options)
            assert (done.code > 0, secret in done.out + done.err) == (True, False)


def test_valid_rows_are_imported_with_skip_invalid(importer: Command, database: Database) -> None:
    assert import_file(importer, tokens(2), "--dry-run").err == "Dry run: nothing was written.\n"
    rows: dict[str, Any] = {"a-right-key-1": {}, "short": {}, "a-right-key-2": {}}
    assert import_file(importer, rows, "--dry-run").code == 1
    assert count(database) == 0
    done = import_file(importer, rows, "--skip-invalid")
    assert (done.code, done.out) == (
        0,
        "api_keys.json (json): 3 rows, 2 imported, 0 existing, 1 invalid\n",
    )
    assert count(database) == 2


def test_key_in_own_format_with_a_wrong_checksum_is_imported(importer: Command) -> None:
    foreign = "gtk_live_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"
    assert import_file(importer, {foreign: {}}).code == 0


def test_stored_import_cannot_be_verified_without_the_pepper(
    importer: Command, database: Database
) -> None:
    token = "a-short-1"
    assert import_file(importer, {token: {}}).code == 0
    stored = database.sql("SELECT api_key.*::text, encode(digest, 'hex') FROM api_key")
    assert hashlib.sha256(token.encode()).hexdigest() not in stored
    assert token not in stored


GUIDE = Path(__file__).parents[4] / "docs/guides/migrate.md"


def test_files_of_the_guide_are_imported(importer: Command, database: Database) -> None:
    reference = GUIDE.read_text().partition("\n## File formats\n")[2]
    examples = re.findall(r"```json\n(.*?)```", reference, re.DOTALL)
    for text in examples:
        done = import_file(importer, text)
        assert (done.code, done.err) == (0, "Done.\n")
    assert count(database) == 3


def test_imported_cores_belong_to_the_given_key(importer: Command, database: Database) -> None:
    assert import_file(importer, {"a-right-key-1": {"name": "agent"}}).code == 0
    agent = database.sql("SELECT id FROM api_key")
    urls = {"docs": "https://abc.ngrok.app", "attic": "https://def.ngrok.app/"}
    options = ("--cores", "--registered-by", agent)
    database.sql("UPDATE api_key SET state = 'disabled'")
    import_file(importer, urls, *options, name="ngrok_urls.json")
    assert count(database, "core") == 0
    database.sql("UPDATE api_key SET state = 'active'")
    done = import_file(importer, urls, *options, name="ngrok_urls.json")
    assert done.code == 0, done.err
    assert database.sql("SELECT string_agg(name || ' ' || url, ',' ORDER BY name) FROM core") == (
        "attic https://def.ngrok.app,docs https://abc.ngrok.app"
    )


UNREADABLE: list[list[Any]] = _CASES["unreadable"]


@pytest.mark.parametrize(("arguments", "message"), UNREADABLE)
def test_unreadable_input_is_a_one_line_error(
    importer: Command, arguments: tuple[str, ...], message: str
) -> None:
    (importer.folder / "bad.json").write_text("7")
    (importer.folder / "deep.json").write_text("[" * 4000 + "\n")
    (importer.folder / "latin.json").write_bytes(b'["\xe9"]')
    done = importer.run(*arguments)
    assert (done.code > 0, done.err) == (True, message + "\n")


def test_export_in_s3_restores_lost_keys(
    importer: Command, database: Database, bucket: Any
) -> None:
    rows = {**tokens(1500), "token-of-a-customer": {"name": "client 9", "owner": "acme"}}
    assert import_file(importer, rows).code == 0
    database.sql(
        "UPDATE api_key SET state = 'disabled' WHERE name = 'client 3'; "
        "INSERT INTO plan (name, description, shared_limits, created_at, created_by) "
        "VALUES ('starter', '', '[]', now(), ''); "
        "UPDATE customer SET plan = 'starter'"
    )
    before = database.sql(REGISTRY)
    location = f"s3://{BUCKET}/registry/2030-01-01.sealed"
    done = importer.run("export", "--to", location)
    assert done.code == 0, done.err
    assert done.out.startswith("Exported 1503 rows (")
    content = bucket.get_object(Bucket=BUCKET, Key="registry/2030-01-01.sealed")["Body"].read()
    digest = bytes.fromhex(
        database.sql("SELECT encode(digest, 'hex') FROM api_key WHERE name = 'client 3'")
    )
    for text in (
        b"client 3",
        digest,
        digest.hex().encode(),
        database.sql("SELECT min(id) FROM api_key").encode(),
    ):
        assert text not in content
    assert importer.run("export", "--to", location).err.endswith(
        location + " already exists; choose another name\n"
    )
    database.sql(
        "DELETE FROM api_key WHERE name <> 'client 8'; DELETE FROM customer; DELETE FROM plan"
    )
    assert importer.run("import", location, "--restore", "--dry-run").out.startswith(
        f"{location}: export of 1503 rows"
    )
    assert count(database) == 1
    restored = importer.run("import", location, "--restore", "--json")
    counts = {"plan": 1, "customer": 1, "api_key": 1500}
    assert json.loads(restored.out)["restored"].items() > counts.items()
    assert database.sql("SELECT id || plan FROM customer") == "acmestarter"
    after = database.sql(REGISTRY)
    assert after == before
    trail = (
        "SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_event WHERE action LIKE "
        "'registry.%'"
    )
    # A dry run is audited, too.
    assert database.sql(trail) == "registry.export registry.export registry.restore"


@pytest.mark.bound("aws.object_storage:BYTES_MAX")
def test_export_needs_its_pepper_and_keeps_purged_keys_purged(
    importer: Command, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert import_file(importer, tokens(2)).code == 0
    assert importer.run("export", "--to", "registry").code == 0
    other = generations(b"q" * 32)
    denied = importer.run("import", "registry", "--restore", GATEHOUSE_PEPPER=other).err
    assert "GATEHOUSE_PEPPER, generation 1, is not that of the processes of dev" in denied
    database.sql("DELETE FROM deployment_fact")  # as the migration of a restored database
    denied = importer.run("import", "registry", "--restore", GATEHOUSE_PEPPER=other).err
    assert "was modified or truncated, or encrypted under another pepper" in denied
    database.sql("DELETE FROM deployment_fact")
    database.sql(
        "UPDATE api_key SET state = 'purged', purged_at = now(), name = '', notes = '', "
        "created_by = '', scopes = '{}', limits = '[]', id_generation = 0, digest = "
        "decode(repeat('00', 32), 'hex') WHERE name = 'client 0'"
    )
    restored = importer.run("import", "registry", "--restore")
    assert (restored.code, "api_key: 0 restored, 2 existed" in restored.out) == (0, True)
    assert (
        database.sql("SELECT string_agg(state, ',' ORDER BY state) FROM api_key") == "active,purged"
    )
    monkeypatch.setattr(object_storage, "BYTES_MAX", 1)
    large = importer.run("import", "registry", "--restore").err
    assert large == "gatehouse: registry is larger than 0 MiB\n"


def test_export_with_an_invalid_row_restores_nothing(importer: Command, database: Database) -> None:
    assert import_file(importer, tokens(2)).code == 0
    lines = database.sql("SELECT json_build_object('api_key', to_json(key)) FROM api_key AS key")
    database.sql("DELETE FROM api_key")
    invalid = lines.replace('"state":"active"', '"state":"unknown"', 1).encode()
    pepper, packed = Pepper({1: b"p" * 32}, 1), zlib.compress(lines.encode() + b"\n" + invalid)
    content = file_formats.export_file(packed, pepper, 1, id="00", made_at="2030-01-01")
    (importer.folder / "invalid").write_bytes(content)
    restored = importer.run("import", "invalid", "--restore")
    assert (restored.code, "CheckViolationError" in restored.err) == (2, True), restored
    assert count(database) == 0


@given(st.binary(max_size=60), st.integers(0, 5000))
def test_damaged_export_is_rejected(line: bytes, at: int) -> None:
    pepper, line = Pepper({1: b"p" * 32}, 1), line.replace(b"\n", b" ").replace(b"\r", b" ")
    content = file_formats.export_file(zlib.compress(line), pepper, 1, id="00")
    head, lines = file_formats.read_export(content, pepper)
    assert (head["id"], lines) == ("00", line.splitlines())
    at %= len(content)
    changed = bytearray(content)
    changed[at] ^= 1
    for damaged in (content[:at], bytes(changed)):
        with pytest.raises(file_formats.UnreadableExport):
            file_formats.read_export(damaged, pepper)

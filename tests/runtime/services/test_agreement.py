"""Processes whose settings differ from those of the other processes of their database."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from gatehouse.platform.settings import AGREEMENTS, Agreement, Settings, variable
from pydantic import SecretStr

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.ports import free_port
from tests.runtime.conftest import Database
from tests.runtime.features.secrets.conftest import aws
from tests.runtime.features.secrets.services import BUCKET, TABLE
from tests.runtime.rows import key_row
from tests.runtime.services.gateway import fork_server
from tests.runtime.services.gateway.conftest import PEPPER, gateway_environment

__all__ = ["aws"]

SCRIPTS = {
    "migrate": (
        "import sys; from gatehouse.commands.cli import main; "
        "sys.argv = ['gatehouse', 'migrate']; main()"
    )
}


def owner_of(database: Database) -> dict[str, str]:
    return {"GATEHOUSE_DATABASE_URL": database.owner_url}


def secret(**generations: bytes) -> str:
    """A pepper or a session key with the generations g1, g2..."""
    numbers = {name[1:]: base64.b64encode(value).decode() for name, value in generations.items()}
    return json.dumps({"current": max(map(int, numbers)), "generations": numbers})


FIRST = {
    "GATEHOUSE_ENVIRONMENT": "staging",
    "GATEHOUSE_PEPPER": secret(g1=PEPPER),
    "GATEHOUSE_SESSION_KEY": secret(g1=b"s" * 32),
    "GATEHOUSE_CHECKPOINT_KEY": "alias/one",
    "GATEHOUSE_CHECKPOINT_ARCHIVE": "file:/tmp/one",
}
#: A value that the other processes do not have, by setting.
OTHER = {
    "environment": "prod",
    "key_prefix": "acme",
    "key_environment": "live",
    "pepper": secret(g1=b"o" * 32),
    "session_key": secret(g1=b"o" * 32),
    "checkpoint_key": "alias/two",
    "checkpoint_archive": "file:/tmp/two",
    "secret_links_table": "two",
    "secrets_bucket": "two",
    "secrets_key": "alias/two",
}


@dataclass(frozen=True)
class Processes:
    database: Database
    folder: Path
    settings: dict[str, str]

    def run(self, service: str, **changes: str) -> str:
        """Starts a process with other settings. Returns "" if it is started, or its log."""
        environment = {**self.settings, **FIRST, **changes}
        environment |= {
            f"GATEHOUSE_{name}_PORT": str(free_port()) for name in ("GATEWAY", "CONSOLE", "SHARING")
        }
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        child = fork_server.start(
            SCRIPTS.get(service, fork_server.script(service)), environment, log
        )
        try:
            ended = "is at" if service == "migrate" else '"started"'
            child_processes.wait_until(child, lambda: ended in log.read_text(), "started", 60)
        except SandboxError:
            assert child.process.poll() not in (None, 0), child.tail()
            return log.read_text()
        finally:
            child.stop()
        return ""


@pytest.fixture(scope="module")
def processes(
    database: Database, redis_url: str, aws: str, tmp_path_factory: pytest.TempPathFactory
) -> Processes:
    """The processes of a deployment of which the first ones have recorded its settings."""
    sharing = {
        "GATEHOUSE_SECRET_LINKS_TABLE": TABLE,
        "GATEHOUSE_SECRETS_BUCKET": BUCKET,
        "GATEHOUSE_SECRETS_KEY": aws,
        "GATEHOUSE_SHARING_URL": "https://sharing.test",
    }
    settings = {**gateway_environment(database.app_url, redis_url, 0), **sharing}
    found = Processes(database, tmp_path_factory.mktemp("agreement"), settings)
    for service in ("migrate", "console", "gateway", "sharing"):
        assert found.run(service, **(owner_of(database) if service == "migrate" else {})) == ""
    return found


def test_every_secret_has_a_decision() -> None:
    secrets = {
        name
        for name, setting in Settings.model_fields.items()
        if SecretStr in getattr(setting.annotation, "__args__", (setting.annotation,))
    }
    assert len(secrets) > 5
    assert secrets <= AGREEMENTS.keys()
    compared = {name for name, each in AGREEMENTS.items() if each is not Agreement.MAY_DIFFER}
    assert compared == OTHER.keys()


@pytest.mark.parametrize("setting", OTHER)
@pytest.mark.parametrize("service", ["gateway", "console"])
def test_process_with_another_value_does_not_start(
    processes: Processes, service: str, setting: str
) -> None:
    text = processes.run(service, **{variable(setting): OTHER[setting]})
    assert f"{variable(setting)}" in text
    assert "gatehouse migrate" in text
    assert base64.b64encode(b"o" * 32).decode() not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("setting", ["environment", "secrets_bucket", "secrets_key"])
def test_sharing_with_another_value_does_not_start(processes: Processes, setting: str) -> None:
    text = processes.run("sharing", **{variable(setting): OTHER[setting]})
    assert f"{variable(setting)} is not that of the other processes" in text


def test_migration_of_another_environment_changes_nothing(processes: Processes) -> None:
    database = processes.database
    before = database.sql("TABLE deployment_fact")
    text = processes.run("migrate", GATEHOUSE_ENVIRONMENT="prod", **owner_of(database))
    assert "GATEHOUSE_ENVIRONMENT" in text
    assert '("staging")' in text
    assert database.sql("TABLE deployment_fact") == before


@pytest.mark.parametrize(
    ("generations", "problem"),
    [
        ({"g1": PEPPER, "g2": b"2" * 32}, ""),  # a rotation
        ({"g2": b"2" * 32, "g3": b"3" * 32}, ""),  # the first generation is retired
        ({"g1": PEPPER}, ""),  # a process that has not received the new ones
        ({"g1": PEPPER, "g2": b"o" * 32}, "GATEHOUSE_PEPPER, generation 2,"),
        ({"g9": b"o" * 32}, "GATEHOUSE_PEPPER"),  # another secret with another number
    ],
)
def test_generations_of_a_rotation_agree(
    processes: Processes, generations: dict[str, bytes], problem: str
) -> None:
    text = processes.run("gateway", GATEHOUSE_PEPPER=secret(**generations))
    assert (problem in text) if problem else text == "", text


def test_keys_under_a_newer_generation_prevent_the_start(processes: Processes) -> None:
    processes.database.sql(key_row(id="'aaaaaaaaaaaa'", pepper_generation="2"))
    assert "newer" in processes.run("gateway")
    pepper = secret(g1=PEPPER, g2=b"2" * 32)
    assert processes.run("gateway", GATEHOUSE_PEPPER=pepper) == ""
    processes.database.sql("DELETE FROM api_key")


@pytest.mark.parametrize("service", ["gateway", "console"])
@pytest.mark.parametrize(
    ("statement", "reverse", "problem"),
    [
        (
            "UPDATE schema_revision SET revision = 'x' || revision "
            "WHERE revision = (SELECT max(revision) FROM schema_revision)",
            "UPDATE schema_revision SET revision = substr(revision, 2) WHERE revision LIKE 'x%'",
            "run `gatehouse migrate` first",
        ),
        (
            "INSERT INTO deployment_fact VALUES ('compatible_since', '9999')",
            "DELETE FROM deployment_fact WHERE name = 'compatible_since'",
            "requires a version of Gatehouse with revision 9999",
        ),
        (
            "INSERT INTO schema_revision VALUES ('9999')",  # compatible, as after a rollback
            "DELETE FROM schema_revision WHERE revision = '9999'",
            "",
        ),
    ],
)
def test_schema_of_another_version(
    processes: Processes, service: str, statement: str, reverse: str, problem: str
) -> None:
    processes.database.sql(statement)
    try:
        text = processes.run(service)
    finally:
        processes.database.sql(reverse)
    assert (problem in text) if problem else text == "", text


def test_restored_database_and_new_secrets_are_accepted(processes: Processes) -> None:
    """The last test: the settings of the other processes are no longer recorded."""
    changed = {
        "GATEHOUSE_ENVIRONMENT": "stagingdr",
        "GATEHOUSE_SESSION_KEY": secret(g1=b"n" * 32),
        "GATEHOUSE_CHECKPOINT_KEY": "alias/two",
    }
    migration = {**changed, **owner_of(processes.database)}
    unchanged = {**migration, "GATEHOUSE_REPLACED_ENVIRONMENT": "another"}
    assert "GATEHOUSE_ENVIRONMENT" in processes.run("migrate", **unchanged)
    migration["GATEHOUSE_REPLACED_ENVIRONMENT"] = "staging"
    assert processes.run("migrate", **migration) == ""
    assert processes.run("gateway", **changed) == ""
    # The table of the other region.
    assert "GATEHOUSE_ENVIRONMENT" in processes.run("console", **changed)
    assert processes.run("migrate", **migration) == ""  # a later deployment keeps the facts
    assert "GATEHOUSE_ENVIRONMENT" in processes.run("gateway")
    both = {**changed, "GATEHOUSE_PEPPER": secret(g1=b"o" * 32)}
    assert "GATEHOUSE_PEPPER" in processes.run("gateway", **both)

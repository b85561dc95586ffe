"""The guide to migrations, with services without legacy keys."""

from pathlib import Path

from sandbox.local import servers
from tests import requires
from tests.journeys.guide_reader import GuideReader
from tests.journeys.local_services import TOKEN, environment, generations, migrate, running_services
from tests.journeys.test_guides import GUIDES, PAUSE_S

pytestmark = requires.program("curl")


def test_migration_guide(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "postgres.log") as server:
        migrate(server, tmp_path / "migrate.log")
        pepper = generations()
        with running_services(server, pepper, tmp_path / "logs") as running:
            urls = {
                "GATEWAY": running.gateway,
                "GATEHOUSE_CONSOLE_URL": running.console,
                "GATEHOUSE_ADMIN_TOKEN": TOKEN,
            }
            (tmp_path / "folder").mkdir()
            environ = {**environment(server.app_url, GATEHOUSE_PEPPER=pepper), **urls}
            reader = GuideReader(tmp_path / "folder", environ, {}, PAUSE_S)
            assert reader.run((GUIDES / "migrate.md").read_text()) > 8

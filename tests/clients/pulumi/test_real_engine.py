"""The provider under the real Pulumi CLI."""


import pytest

from tests import requires
from tests.clients.pulumi.environment import TOKEN, Environment
from tests.clients.pulumi.project import Project

pytestmark = requires.PULUMI


@pytest.fixture
def project(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(environment, tmp_path_factory.mktemp("project"))


def test_life(project: Project, environment: Environment) -> None:
    secret = environment.create_secret("life")
    program = (
        'plan = gatehouse.Plan("starter", name="starter", scopes=["orders:read"],',
        '    limits=[{"name": "requests", "quota": 60, "window_s": 60}])',
        'acme = gatehouse.Customer("acme", customer_id="acme", plan=plan.name)',
        'file = gatehouse.Key("file", name="life file", customer_id=acme.customer_id,',
        '    destination={"file": "token.txt"})',
        f'aws = gatehouse.Key("aws", name="life aws", customer_id=acme.customer_id,'
        f'    ttl_s=86400, destination={{"secret": "{secret}"}})',
        'pulumi.export("key_id", file.key_id)',
    )
    project.write(*program)
    project.pulumi("preview", "--diff")
    project.up()
    assert TOKEN.fullmatch((project.folder / "token.txt").read_text())
    print(project.state())
    project.pulumi("preview", "--diff", "--expect-no-changes")
    project.pulumi("refresh", "--yes", "--diff", "--expect-no-changes")
    project.write(*program[:2], *(line.replace("life file", "renamed file") for line in program[2:]))
    project.pulumi("preview", "--diff")
    project.up()
    project.pulumi("destroy", "--yes")
    assert 0

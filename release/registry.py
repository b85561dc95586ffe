"""Creates the registry of a new stack, to which the first image is pushed."""

from collections.abc import Callable

from release.errors import CommandFailed, step
from release.preflight import missing_stack
from release.pulumi.cli import CONFIRMED, update
from release.pulumi.stack import Stack, with_setting
from release.pulumi.state import read_state

TARGETS = (
    *("**::aws", "**:PermissionsBoundary**", "**Roles**", "**:KmsKeys**", "**:ContainerImage**"),
    *("**:Certificate::**", "**aws:route53/zone:Zone::**"),
)
"""The registry with what it requires, and the hosted zone, whose delegation takes time."""
_ANY_IMAGE = "sha256:" + "1" * 64
"""The targets do not depend on the image."""


def create_registry(stack: Stack, confirm: Callable[[], bool]) -> None:
    """Create the registry, the KMS keys, the roles and the hosted zone, unless the registry exists.
    Raises CommandFailed, ValueError and ClientError.
    """
    ecr = stack.client("ecr")
    try:
        ecr.describe_repositories(repositoryNames=[stack.names.name("runtime")])
        return
    except ecr.exceptions.RepositoryNotFoundException:
        if error := missing_stack(stack):
            raise ValueError(error) from None
    step("creating the registry, the KMS keys, the roles and the hosted zone")
    if not confirm():
        raise CommandFailed("not confirmed; nothing was changed")
    options = [word for target in TARGETS for word in ("--target", target)]
    with with_setting(stack, "image", "digest", _ANY_IMAGE) as changed:
        update(changed, "up", *CONFIRMED, *options)
    if servers := read_state(stack).output("nameServers", []):
        step(f"delegate {stack.setting('domain')} to the name servers {', '.join(servers)}")

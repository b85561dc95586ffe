"""Builds the container image for the architecture of the tasks, pushes it to the registry of a
stack and writes its digest into the stack file."""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from release.errors import CommandFailed, translated
from release.pulumi_cli import last_line
from release.rollback import write_digest
from release.stack_file import ROOT, Stack

PLATFORM = "linux/arm64"
"""Architecture of the tasks and functions."""
RELEASE_TAG, DEPLOYED_TAG = "release-", "deployed-"
"""Prefixes of the tags of a pushed image and of a deployed image
(components/compute/container_image.py).
"""


def missing_builder() -> str | None:
    """A message if Docker cannot build for the architecture of the tasks, with the fix."""
    if shutil.which("docker") is None:
        return "docker is not on PATH. Install it: https://docs.docker.com/engine/install/"
    inspection = _run("docker", "buildx", "inspect", "--bootstrap")
    if inspection.returncode:
        return (
            "docker buildx is not available. Start Docker, and install the plugin: "
            "https://docs.docker.com/build/install-buildx/"
        )
    if PLATFORM not in inspection.stdout:
        return (
            f"docker cannot build for {PLATFORM}. Run: docker run --privileged --rm "
            f"tonistiigi/binfmt --install arm64"
        )
    return None


def push_image(stack: Stack) -> str:
    """Build and push the image, and write its digest into the stack file. Returns the digest.
    Raises CommandFailed.
    """
    repository, registry = stack.names.name("runtime"), stack.names.registry
    _log_in(stack, repository, registry)
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        metadata = Path(folder) / "built.json"
        dockerfile = str(ROOT / "runtime" / "Dockerfile")
        build = [
            *("docker", "buildx", "build", "--push", "--file", dockerfile, "--platform", PLATFORM),
            # AWS Lambda does not accept an image index, which attestations would create.
            *("--provenance=false", "--sbom=false", "--metadata-file", str(metadata)),
            *("--tag", f"{registry}/{repository}:{_tag()}", str(ROOT)),
        ]
        if subprocess.run(build, check=False).returncode:
            raise CommandFailed("docker buildx build failed; see its output above")
        digest = str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])
    write_digest(stack.root / f"Pulumi.{stack.name}.yaml", digest)
    return digest


def mark_deployed(stack: Stack) -> None:
    """Tag the image of the stack as deployed, so that the lifecycle policy of the repository does
    not expire it. The tag is random, because whoever pushes images can take others.

    Raises ClientError and BotoCoreError.
    """
    if is_deployed(stack, stack.image_digest):
        return
    ecr = stack.client("ecr")
    for image in ecr.batch_get_image(**_image(stack, stack.image_digest))["images"][:1]:
        ecr.put_image(
            repositoryName=stack.names.name("runtime"),
            imageManifest=image["imageManifest"],
            imageManifestMediaType=image["imageManifestMediaType"],
            imageTag=f"{DEPLOYED_TAG}{uuid4().hex}",
        )


def is_deployed(stack: Stack, digest: str) -> bool:
    """Whether an image was deployed (`mark_deployed`). Raises ClientError and BotoCoreError."""
    ecr = stack.client("ecr")
    try:
        (image,) = ecr.describe_images(**_image(stack, digest))["imageDetails"]
    except ecr.exceptions.ImageNotFoundException:
        return False
    return any(tag.startswith(DEPLOYED_TAG) for tag in image.get("imageTags", ()))


def _image(stack: Stack, digest: str) -> dict[str, Any]:
    return {"repositoryName": stack.names.name("runtime"), "imageIds": [{"imageDigest": digest}]}


def _log_in(stack: Stack, repository: str, registry: str) -> None:
    """Log in to the registry. Raises CommandFailed if the repository does not exist or a call
    fails.
    """
    ecr = stack.client("ecr")
    with translated("AWS rejected the request for the registry ({})"):
        try:
            ecr.describe_repositories(repositoryNames=[repository])
        except ecr.exceptions.RepositoryNotFoundException:
            raise CommandFailed(
                f"the repository {repository} does not exist in {stack.region}. Create it first "
                f"(docs/guides/deploy.md, section 2)"
            ) from None
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    login = _run("docker", "login", "-u", user, "--password-stdin", registry, stdin=password)
    if login.returncode:
        raise CommandFailed(f"docker login failed: {last_line(login.stderr)}")


def _tag() -> str:
    """A new tag with the Git commit. Tags are immutable, so a second build of a commit needs
    another tag.
    """
    commit = _run("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD").stdout.strip()
    return f"{RELEASE_TAG}{commit or 'local'}-{datetime.now(UTC):%Y%m%d%H%M%S}"


def _run(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # No time limit: the first use of buildx downloads its builder.
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

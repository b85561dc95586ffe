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

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from components.naming import Naming
from release.rollback import write_digest
from release.stack_file import ROOT, Stack

PLATFORM = "linux/arm64"
"""Architecture of the tasks and functions."""
RELEASE_TAG, DEPLOYED_TAG = "release-", "deployed-"
"""Prefixes of the tags of a pushed image and of a deployed image
(components/compute/container_image.py).
"""
_QUERY_TIMEOUT_S = 60


class ImageFailed(Exception):
    """The image was not pushed. The message says what failed and what to do."""


def missing_builder() -> str | None:
    """A message if Docker cannot build for the architecture of the tasks, with the fix."""
    if shutil.which("docker") is None:
        return "docker is not on PATH. Install it: https://docs.docker.com/engine/install/"
    inspection = _run("docker", "buildx", "inspect", "--bootstrap", timeout_s=_QUERY_TIMEOUT_S)
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


def push_image(stack: Stack, root: Path = ROOT) -> str:
    """Build and push the image, and write its digest into the stack file. Returns the digest.
    Raises ImageFailed.
    """
    names = Naming(stack.name, stack.account, stack.region)
    repository, registry = names.name("runtime"), names.registry
    _log_in(stack, repository, registry)
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        metadata = Path(folder) / "built.json"
        # AWS Lambda does not accept an image index, which attestations would create.
        arguments = (
            "--platform",
            PLATFORM,
            "--provenance=false",
            "--sbom=false",
            "--push",
            "--metadata-file",
            str(metadata),
        )
        reference = f"{registry}/{repository}:{_tag()}"
        dockerfile = str(ROOT / "runtime" / "Dockerfile")
        build = [
            "docker",
            "buildx",
            "build",
            "--file",
            dockerfile,
            *arguments,
            "--tag",
            reference,
            str(ROOT),
        ]
        if subprocess.run(build, check=False).returncode:
            raise ImageFailed("docker buildx build failed; see its output above")
        digest = str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])
    write_digest(root / f"Pulumi.{stack.name}.yaml", digest)
    return digest


def mark_deployed(stack: Stack) -> None:
    """Tag the image of the stack as deployed, so that the lifecycle policy of the repository does
    not expire it. Idempotent.

    Raises ClientError and BotoCoreError.
    """
    ecr = _ecr(stack)
    repository = Naming(stack.name, stack.account, stack.region).name("runtime")
    images = ecr.batch_get_image(
        repositoryName=repository, imageIds=[{"imageDigest": stack.image_digest}]
    )["images"]
    for image in images:
        try:
            ecr.put_image(
                repositoryName=repository,
                imageManifest=image["imageManifest"],
                imageManifestMediaType=image["imageManifestMediaType"],
                imageTag=_deployed_tag(stack.image_digest),
            )
        except ecr.exceptions.ImageAlreadyExistsException:
            continue  # an earlier deployment of the image


def is_deployed(stack: Stack, digest: str) -> bool:
    """Whether an image was deployed successfully to the stack (`mark_deployed`). Raises ClientError
    and BotoCoreError.
    """
    tagged = _ecr(stack).batch_get_image(
        repositoryName=Naming(stack.name, stack.account, stack.region).name("runtime"),
        imageIds=[{"imageTag": _deployed_tag(digest)}],
    )
    return bool(tagged["images"])


def _deployed_tag(digest: str) -> str:
    return f"{DEPLOYED_TAG}{digest.removeprefix('sha256:')[:32]}"


def _log_in(stack: Stack, repository: str, registry: str) -> None:
    """Log in to the registry. Raises ImageFailed if the repository does not exist or a call
    fails.
    """
    ecr = _ecr(stack)
    try:
        ecr.describe_repositories(repositoryNames=[repository])
        authorization = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    except ecr.exceptions.RepositoryNotFoundException:
        raise ImageFailed(
            f"the repository {repository} does not exist in {stack.region}. Create it first "
            f"(docs/guides/deploy.md, section 2)"
        ) from None
    except (ClientError, BotoCoreError) as exc:
        raise ImageFailed(
            f"AWS rejected the request for the registry ({type(exc).__name__})"
        ) from exc
    user, _, password = base64.b64decode(authorization).decode().partition(":")
    login = _run(
        "docker",
        "login",
        "--username",
        user,
        "--password-stdin",
        registry,
        stdin=password,
        timeout_s=_QUERY_TIMEOUT_S,
    )
    if login.returncode:
        raise ImageFailed(
            f"docker login failed: {(login.stderr.strip().splitlines() or ['no message'])[-1]}"
        )


def _tag() -> str:
    """A new tag with the Git commit. Tags are immutable, so a second build of a commit needs
    another tag.
    """
    commit = _run(
        "git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD", timeout_s=_QUERY_TIMEOUT_S
    ).stdout.strip()
    return f"{RELEASE_TAG}{commit or 'local'}-{datetime.now(UTC):%Y%m%d%H%M%S}"


def _run(*command: str, timeout_s: int, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def _ecr(stack: Stack) -> Any:
    return boto3.client("ecr", region_name=stack.region)

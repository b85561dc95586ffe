"""The container image of a stack: build, tag of deployed images, and signature."""

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from release.errors import CommandFailed, last_line
from release.pulumi.stack import ROOT, Stack, write_digest

DEPLOYED_TAG = "deployed-"
"""Prefix of the tag of a deployed image (components/compute/container_image.py)."""
ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = ".github/workflows/image.yml@refs/heads/main"
"""Signs images. The certificate of a signature contains both."""


def push_image(stack: Stack) -> str:
    """Build and push the image. Returns its digest, which is in the stack file then."""
    repository = f"{stack.names.registry}/{_repository(stack)}"
    command = [str(ROOT / "scripts" / "registry.sh"), "build", repository, stack.region]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if built.returncode:
        raise CommandFailed("the image was not built; see the output above")
    digest = built.stdout.strip()
    write_digest(stack.path, digest)
    return digest


def mark_deployed(stack: Stack) -> None:
    """Tag the image, so that the repository does not expire it. Others cannot guess the tag."""
    if is_deployed(stack, stack.image_digest):
        return
    ecr = stack.client("ecr")
    for image in ecr.batch_get_image(**_image(stack, stack.image_digest))["images"][:1]:
        ecr.put_image(
            repositoryName=_repository(stack),
            imageManifest=image["imageManifest"],
            imageManifestMediaType=image["imageManifestMediaType"],
            imageTag=f"{DEPLOYED_TAG}{uuid4().hex}",
        )


def is_deployed(stack: Stack, digest: str) -> bool:
    ecr = stack.client("ecr")
    try:
        (image,) = ecr.describe_images(**_image(stack, digest))["imageDetails"]
    except ecr.exceptions.ImageNotFoundException:
        return False
    return any(tag.startswith(DEPLOYED_TAG) for tag in image.get("imageTags", ()))


def unverified_signature(stack: Stack) -> str:
    """A message, with its fix, if the pipeline of the repository (`delivery.repository` or, in a
    workflow, its own) has not signed the image of the stack. "" without a pipeline.
    """
    workflow = os.environ.get("GITHUB_REPOSITORY")
    if not (repository := stack.setting("delivery", "repository") or workflow):
        return ""
    registry = stack.names.registry
    image = f"{registry}/{_repository(stack)}@{stack.image_digest}"
    identity = f"https://github.com/{repository}/{WORKFLOW}"
    (token,) = stack.client("ecr").get_authorization_token()["authorizationData"]
    options = ("--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER)
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        credentials = {"auths": {registry: {"auth": token["authorizationToken"]}}}
        (Path(folder) / "config.json").write_text(json.dumps(credentials), encoding="utf-8")
        result = subprocess.run(
            ["cosign", "verify", *options, image],
            env={**os.environ, "DOCKER_CONFIG": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode == 0:
        return ""
    return (
        f"{image} is not signed by {identity} ({last_line(result.stderr)}). Set image.digest to a "
        "digest from the summary of image.yml, or use UNSIGNED=1"
    )


def _repository(stack: Stack) -> str:
    return stack.names.name("runtime")


def _image(stack: Stack, digest: str) -> dict[str, Any]:
    return {"repositoryName": _repository(stack), "imageIds": [{"imageDigest": digest}]}

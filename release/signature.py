"""Verifies that the pipeline of the repository has built and signed the image of a stack."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from release.errors import AWS_ERRORS, code_of
from release.pulumi_cli import last_line
from release.stack_file import Stack

ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = ".github/workflows/image.yml@refs/heads/main"
"""Workflow and branch that build and sign images. The certificate of a signature contains both."""
_INSTALL = "https://docs.sigstore.dev/cosign/system_config/installation/"
_TIMEOUT_S = 120


def unverified_signature(stack: Stack) -> str | None:
    """A message, with its fix, if the image of the stack has no valid signature of the pipeline.
    None if the signature is valid, or if the stack has no pipeline.

    The repository of the pipeline is `delivery.repository` in the stack file or, in a GitHub
    workflow, the repository itself.
    """
    repository = str(
        (stack.settings.get("delivery") or {}).get("repository")
        or os.environ.get("GITHUB_REPOSITORY", "")
    )
    if not repository:
        return None
    if shutil.which("cosign") is None:
        return (
            f"cosign is not on PATH, so the signature of the image cannot be verified. "
            f"Install it: {_INSTALL}"
        )
    registry = stack.names.registry
    image = f"{registry}/{stack.names.name('runtime')}@{stack.image_digest}"
    identity = f"https://github.com/{repository}/{WORKFLOW}"
    try:
        grants = stack.client("ecr").get_authorization_token()["authorizationData"]
    except AWS_ERRORS as exc:
        return (
            f"AWS rejected the request for the registry ({code_of(exc)}), so the signature of the "
            f"image was not verified"
        )
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        credentials = {"auths": {registry: {"auth": grants[0]["authorizationToken"]}}}
        (Path(folder) / "config.json").write_text(json.dumps(credentials), encoding="utf-8")
        options = ["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER]
        command = ["cosign", "verify", *options, image]
        environment = {**os.environ, "DOCKER_CONFIG": folder}
        try:
            result = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return f"cosign did not verify the signature of {image} within {_TIMEOUT_S} seconds"
    if result.returncode == 0:
        return None
    return (
        f"{image} is not signed by {identity} ({last_line(result.stderr)}). Set image.digest to a "
        "digest from the summary of image.yml, or run make deploy or make rollback with UNSIGNED=1"
    )

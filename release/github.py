"""The rules on GitHub without which others could deploy with the roles of the pipeline.

Source: GitHub REST API, "Branches", "Deployment environments" and "Deployment branch policies".
"""

import subprocess

from components.delivery.policies import github_environments
from components.delivery.scope import IMAGE
from components.naming import DEPLOY, PREVIEW
from release.bootstrap import backend_url
from release.pulumi.stack import Stack

TIMEOUT_S = 15.0


def set_up(stack: Stack, repository: str) -> str:
    """The command that creates the environments with their protection rules and variables."""
    url, roles = backend_url(stack), stack.names.role_arn("")
    return f"scripts/pipeline.sh {stack.name} {repository} {stack.region} '{url}' {roles}"


def unprotected_environments(stack: Stack) -> str:
    """A message if the branch main or an environment that the roles of the pipeline trust has no
    protection rules: GitHub creates an environment when a workflow of any branch names it. "" if
    `delivery.subjects` names other jobs, whose rules are not read.
    """
    repository = stack.setting("delivery", "repository")
    if not repository or stack.setting("delivery", "subjects"):
        return ""
    path = f"repos/{repository}"
    roles = (DEPLOY, PREVIEW, IMAGE)
    environments = [name for role in roles for name in github_environments(role, stack.names)]
    unprotected = [name for name in environments if not _is_protected(path, name)]
    if _github(f"{path}/branches/main", ".protected") != ["true"]:
        unprotected.append("the branch main")
    if not unprotected:
        return ""
    return (
        f"no protection rules on GitHub, or gh cannot read them: {', '.join(unprotected)}. Require "
        f"an approval for main (https://github.com/{repository}/settings/rules), and run: "
        f"{set_up(stack, repository)}"
    )


def _is_protected(repository: str, environment: str) -> bool:
    """A preview runs the code of a pull request, all other jobs that of the branch main."""
    path = f"{repository}/environments/{environment}"
    rules = _github(path, ".protection_rules[].type")
    if environment.endswith(f"-{PREVIEW}") and "required_reviewers" in rules:
        return True
    # A tag can have the same name.
    refs = _github(f"{path}/deployment-branch-policies", ".branch_policies[] | .type, .name")
    return "branch_policy" in rules and refs == ["branch", "main"]


def _github(path: str, fields: str) -> list[str]:
    """Empty on an error, also if `gh` is not installed or signed in."""
    command = ["gh", "api", path, "--jq", fields]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []

"""Lifecycle policy of the image repositories, evaluated on a series of pushes."""

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import pytest

from components.compute.container_image import lifecycle_policy


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a repository, in the order of the pushes.

    index: name of the index that contains the image, or "".
    """

    name: str
    tags: tuple[str, ...] = ()
    index: str = ""


def pushes(count: int) -> list[Image]:
    """Pushes of an index with one image and its attestation, followed by a signature, as image.yml
    creates them.
    """
    return [
        image
        for number in range(1, count + 1)
        for image in (
            Image(f"image-{number}", index=f"index-{number}"),
            Image(f"attestation-{number}", index=f"index-{number}"),
            Image(f"index-{number}", (f"release-{number}",)),
            Image(f"signature-{number}", (f"sha256-{number}.sig",)),
        )
    ]


def retained(images: list[Image], policy: dict[str, Any]) -> set[str]:
    """The images that remain after the evaluation, a long time after the last push.

    A rule does not expire images that a rule with higher priority matches, and images of an
    existing index do not expire (ECR User Guide, "Lifecycle policy properties").
    """
    claimed: set[str] = set()
    expired: set[str] = set()
    for rule in sorted(policy["rules"], key=lambda rule: rule["rulePriority"]):
        matching = [image for image in images if matches(image, rule["selection"])]
        by_count = rule["selection"]["countType"] == "imageCountMoreThan"
        candidates = matching[: -rule["selection"]["countNumber"]] if by_count else matching
        expired |= {image.name for image in candidates} - claimed
        claimed |= {image.name for image in matching}
    existing = {image.name for image in images} - {
        image.name for image in images if image.name in expired and not image.index
    }
    return existing - {
        image.name for image in images if image.name in expired and image.index not in existing
    }


def matches(image: Image, selection: dict[str, Any]) -> bool:
    if selection["tagStatus"] == "tagged":
        return any(
            fnmatch(tag, pattern) for tag in image.tags for pattern in selection["tagPatternList"]
        )
    return selection["tagStatus"] == "any" or not image.tags


@pytest.mark.requirement("SS-09", "TR-17")
def test_newest_releases_are_retained_with_their_images() -> None:
    remaining = retained(pushes(30), lifecycle_policy(10))
    assert {name for name in remaining if name.startswith("image-")} == {
        f"image-{number}" for number in range(21, 31)
    }


@pytest.mark.requirement("SS-09", "TR-17")
def test_deployed_image_is_retained() -> None:
    """`make deploy` tags the image of push 3. The tag keeps the image after its index has
    expired.
    """
    images = [
        Image(image.name, ("deployed-3",), image.index) if image.name == "image-3" else image
        for image in pushes(30)
    ]
    assert "image-3" in retained(images, lifecycle_policy(10))
    assert "index-3" not in retained(images, lifecycle_policy(10))

"""Repositories of the images that a stack runs."""

from typing import Any

from components.compute.container_image import lifecycle_policy


def test_pushed_images_do_not_expire_deployed_images() -> None:
    rules: Any = lifecycle_policy(10)["rules"]
    first = min(rules, key=lambda rule: rule["rulePriority"])["selection"]
    assert first["tagPatternList"] == ["deployed-*"]
    assert (first["countType"], first["countUnit"]) == ("sinceImagePushed", "days")
    assert first["countNumber"] >= 3650
    core: Any = lifecycle_policy(0)["rules"]
    assert [rule["selection"]["tagStatus"] for rule in core] == ["untagged"]

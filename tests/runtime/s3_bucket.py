"""Fixture `bucket`: an S3 bucket in moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

BUCKET = "old-deployment"


@pytest.fixture
def bucket(aws_credentials: None) -> Iterator[Any]:
    with mock_aws():
        s3 = boto3.client("s3", region_name="eu-central-1")
        s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield s3

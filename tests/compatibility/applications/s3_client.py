"""Copies an object with metadata; uploads and downloads 12 MiB."""

import io
import os

import boto3

TOKEN = os.environ["TOKEN"]

client = boto3.client(
    "s3",
    endpoint_url=os.environ["URL"],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
client.meta.events.register(
    "before-send.s3", lambda request, **_: request.headers.update({"X-API-Key": TOKEN})
)
client.create_bucket(Bucket="bucket")
client.put_object(Bucket="bucket", Key="a b", Body=b"content", Metadata={"team": "shop"})
client.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "a b"})
copy = client.get_object(Bucket="bucket", Key="copy")
assert (copy["Body"].read(), copy["Metadata"]) == (b"content", {"team": "shop"})
large = os.urandom(12 * 2**20)
client.upload_fileobj(io.BytesIO(large), "bucket", "large")
target = io.BytesIO()
client.download_fileobj("bucket", "large", target)
assert target.getvalue() == large
names = [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]]
assert names == ["a b", "copy", "large"], names

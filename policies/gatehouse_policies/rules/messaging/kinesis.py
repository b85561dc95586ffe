"""Rules for Amazon Kinesis data streams and video streams, Amazon Data Firehose, and Managed
Service for Apache Flink.
"""

from pulumi_local.type_tokens import aws

from gatehouse_policies.engine.requirements import (
    in_order,
    is_customer_key,
    is_exactly,
    is_set,
    is_true,
)
from gatehouse_policies.engine.rule import resource_rule

stream_uses_customer_key = resource_rule("GH-KIN-001", types=aws("kinesis.Stream")).requires(
    in_order(is_exactly("encryptionType", "KMS"), is_customer_key("kmsKeyId"))
)


firehose_uses_customer_key = resource_rule(
    "GH-KIN-002", types=aws("kinesis.FirehoseDeliveryStream")
).requires(
    in_order(
        is_true("serverSideEncryption.enabled"),
        is_exactly("serverSideEncryption.keyType", "CUSTOMER_MANAGED_CMK"),
        is_set("serverSideEncryption.keyArn"),
    ),
    # A data stream or an MSK cluster that is the source encrypts the records.
    # https://docs.aws.amazon.com/firehose/latest/APIReference/API_StartDeliveryStreamEncryption.html
    when=lambda stream: (
        not any(stream.props.has(f"{source}SourceConfiguration") for source in ("kinesis", "msk"))
    ),
)

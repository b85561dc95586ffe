"""Rules for Amazon MSK clusters."""

from functools import partial

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    any_of,
    is_customer_key,
    is_exactly,
    is_not_false,
    is_not_true,
    is_set,
    is_true,
)
from gatehouse_policies.engine.rule import resource_rule

_GUIDE = "https://docs.aws.amazon.com/msk/latest/developerguide"
_cluster_rule = partial(resource_rule, types=aws("msk.Cluster"))


traffic_is_encrypted = _cluster_rule(
    "GH-MSK-001",
    title="MSK clusters encrypt traffic of clients and between brokers",
    severity="high",
    upstream="MSK.1 CKV_AWS_81 MSK2 MSK3",
    url=f"{_GUIDE}/msk-encryption.html",
).requires(
    is_exactly("encryptionInfo.encryptionInTransit.clientBroker", "TLS", default="TLS"),
    is_not_false("encryptionInfo.encryptionInTransit.inCluster"),
)


data_is_encrypted_with_customer_key = _cluster_rule(
    "GH-MSK-002",
    title="MSK clusters are encrypted with a customer managed key",
    url=f"{_GUIDE}/msk-encryption.html",
).requires(is_customer_key("encryptionInfo.encryptionAtRestKmsKeyArn"))


broker_logs_are_delivered = _cluster_rule(
    "GH-MSK-003",
    title="MSK clusters deliver broker logs",
    upstream="CKV_AWS_80 MSK6",
    url=f"{_GUIDE}/msk-logging.html",
).requires(
    any_of(
        *(
            is_true(f"loggingInfo.brokerLogs.{name}.enabled")
            for name in ("cloudwatchLogs", "firehose", "s3")
        ),
        message="loggingInfo.brokerLogs has no enabled destination",
    )
)


brokers_are_private = _cluster_rule(
    "GH-MSK-004",
    title="MSK brokers are private and require authentication",
    severity="high",
    upstream="MSK.4 MSK.6 CKV_AWS_291",
    url=f"{_GUIDE}/public-access.html",
).requires(
    is_exactly(
        "brokerNodeGroupInfo.connectivityInfo.publicAccess.type", "DISABLED", default="DISABLED"
    ),
    is_not_true("clientAuthentication.unauthenticated"),
    any_of(
        is_true("clientAuthentication.sasl.iam"),
        is_true("clientAuthentication.sasl.scram"),
        is_set("clientAuthentication.tls.certificateAuthorityArns"),
        message="no clientAuthentication is enabled, so clients are not authenticated",
    ),
)

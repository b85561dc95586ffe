"""Rules for AWS Transfer Family."""

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import satisfies
from gatehouse_policies.engine.rule import resource_rule

server_encrypts_transfers = resource_rule(
    "GH-TRF-001",
    title="Transfer Family servers do not use FTP without encryption",
    severity="high",
    types=aws("transfer.Server"),
    upstream="Transfer.2",
    url="https://docs.aws.amazon.com/transfer/latest/userguide/tf-server-endpoint.html",
).requires(
    satisfies(
        "protocols",
        lambda server, key: "FTP" not in server.texts(key),
        "contains FTP",
        "use SFTP or FTPS",
    )
)

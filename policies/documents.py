"""Finds the IAM documents in resources that hold them; judges none."""

from policies import iam_document, tokens
from policies.stack import Resource


def identity_documents(resource: Resource) -> list[iam_document.Document]:
    """The identity policies in an IAM policy, an inline role or group policy, or a role with inlinePolicies.

    Raises UnknownValueError when one is not known yet, and DocumentError when one is not a policy.
    """
    if resource.type in tokens.ROLE:
        inline = [block.value("policy") for block in resource.props.blocks("inlinePolicies") if block.has("policy")]
        return [iam_document.parse(document) for document in inline]
    return [iam_document.parse(resource.props.value("policy"))]

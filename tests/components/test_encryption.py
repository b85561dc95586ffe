"""KMS keys: who may use them."""

from tests.components.program import run
from tests.components.settings.stack_settings import each_stack


@each_stack
def test_only_console_signs_checkpoints_with_ecdsa(stack: str) -> None:
    (sign,) = (
        s
        for s in run(stack).statements("kms.Key", "audit").values()
        if {"kms:Sign", "kms:*"} & set(s["Action"])
    )
    assert sign["Principal"] == {
        "AWS": [f"arn:aws:iam::123456789012:role/gatehouse-{stack}-console-task"]
    }
    assert sign["Condition"]["StringEquals"]["kms:SigningAlgorithm"] == "ECDSA_SHA_256"
    key = run(stack).get("kms.Key", "audit").inputs
    assert (key["keyUsage"], key["customerMasterKeySpec"], "enableKeyRotation" in key) == (
        "SIGN_VERIFY",
        "ECC_NIST_P256",
        False,
    )


def test_only_key_policies_grant_the_use_of_keys() -> None:
    policies = run("prod").of_type("iam.RolePolicy")
    assert len(policies) > 10
    assert [row.name for row in policies if '"kms:' in row.inputs["policy"]] == []

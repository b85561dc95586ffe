"""The JSON shape of a checkpoint, one file or line each: in the vault, in the API, and as `gatehouse audit verify` reads it."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gatehouse.core.auditchain import as_seconds
from gatehouse.core.checkpoint import Checkpoint
from gatehouse.wire.key_parts import rfc3339


class CheckpointView(BaseModel):
    """What the signature covers is written in gatehouse/core/checkpoint.py."""

    version: Literal[1] = 1
    seq: Annotated[int, Field(ge=1, description="The last audit row that is covered.")]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Hexadecimal hash of that row.")]
    taken_at: str
    key_id: Annotated[str, Field(description="Which key signed: an ARN, or the fingerprint of its public half.")]
    algorithm: Annotated[str, Field(description="ed25519 or ecdsa-p256-sha256.")]
    signature: Annotated[str, Field(description="Base64.")]


class ListCheckpoints(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=0, le=2**62, description="`next_after` of the page before.")] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class CheckpointPage(BaseModel):
    """In the order of the rows that they cover."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "checkpoints": [
                        {
                            "version": 1,
                            "seq": 1204,
                            "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "taken_at": "2030-06-01T09:00:00Z",
                            "key_id": "arn:aws:kms:eu-central-1:111122223333:key/3f1e",
                            "algorithm": "ecdsa-p256-sha256",
                            "signature": "MEUCIQDk3w==",
                        }
                    ],
                    "next_after": None,
                    "public_key": None,
                }
            ]
        }
    )

    checkpoints: list[CheckpointView]
    next_after: int | None
    public_key: Annotated[
        str | None, Field(description="PEM of the key that signs now; keep a copy elsewhere. Null: none signs.")
    ]


def checkpoint_view(checkpoint: Checkpoint) -> CheckpointView:
    return CheckpointView(
        seq=checkpoint.seq,
        hash=checkpoint.hash.hex(),
        taken_at=rfc3339(checkpoint.taken_at),
        key_id=checkpoint.key_id,
        algorithm=checkpoint.algorithm,
        signature=base64.b64encode(checkpoint.signature).decode(),
    )


def checkpoint_of(view: CheckpointView) -> Checkpoint:
    """Back from the wire. Raises ValueError on a date or a signature that is none."""
    try:
        signature = base64.b64decode(view.signature, validate=True)
    except binascii.Error as exc:
        raise ValueError("the signature is no base64") from exc
    return Checkpoint(
        seq=view.seq,
        hash=bytes.fromhex(view.hash),
        taken_at=as_seconds(datetime.fromisoformat(view.taken_at)),
        key_id=view.key_id,
        algorithm=view.algorithm,
        signature=signature,
    )

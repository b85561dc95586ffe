"""Response shapes of the pepper status."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta


class PepperGeneration(msgspec.Struct, frozen=True):
    generation: int
    available: Annotated[
        bool, Meta(description="True if the console has the secret for this generation.")
    ]
    keys: Annotated[
        int,
        Meta(
            description=(
                "Number of keys stored under this generation. A key moves to the "
                "newest generation when it is used."
            )
        ),
    ]
    ids: Annotated[
        int, Meta(description="Number of key IDs that are checked with this generation.")
    ]
    cores: Annotated[
        int,
        Meta(
            description="Number of registered Cores that depend on this generation. These Cores "
            "must register again if the generation is removed."
        ),
    ]
    imported: Annotated[
        int,
        Meta(
            description="Number of imported keys that require this generation. Rotate these keys "
            "before you remove the generation."
        ),
    ]
    signing: Annotated[
        int,
        Meta(
            description=(
                "Number of signing secrets encrypted under this generation. A "
                "background job re-encrypts these secrets."
            )
        ),
    ]
    removable: Annotated[
        bool,
        Meta(
            description="True if the generation is unused and can be removed from GATEHOUSE_PEPPER."
        ),
    ]


class PepperStatus(msgspec.Struct, frozen=True):
    example: ClassVar = {
        "current": 2,
        "writing": 2,
        "generations": [
            {
                "generation": 2,
                "available": True,
                "keys": 120,
                "ids": 120,
                "cores": 3,
                "imported": 0,
                "signing": 4,
                "removable": False,
            }
        ],
    }

    current: Annotated[int, Meta(description="The newest configured generation.")]
    writing: Annotated[
        int,
        Meta(
            description=(
                "Generation for new keys: the newest generation that every live "
                "gateway worker can read."
            )
        ),
    ]
    generations: list[PepperGeneration]

"""Response shapes of the propagation of changes and of the pepper status."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta


class Propagation(msgspec.Struct, frozen=True):
    """Propagation of changes of keys. A gateway worker confirms every second which changes it has
    applied.
    """

    example: ClassVar = {"workers": 6, "behind": 0, "silent": 0, "lag_s": 0.8, "bound_s": 5.0}

    workers: Annotated[int, Meta(description="Number of live gateway workers.")]
    behind: Annotated[
        int,
        Meta(
            description="Number of live workers that have not confirmed the last change of a key."
        ),
    ]
    silent: Annotated[
        int,
        Meta(
            description="Number of workers that did not stop but have not confirmed anything for "
            "twice the propagation bound. Such a worker denies every key."
        ),
    ]
    lag_s: Annotated[
        float | None,
        Meta(
            description=(
                "Time since the oldest confirmation of a live worker. Null if there is "
                "no live worker."
            )
        ),
    ]
    bound_s: Annotated[
        float,
        Meta(description="The propagation bound. A worker whose data is older denies every key."),
    ]


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

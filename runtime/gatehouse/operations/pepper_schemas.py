"""Response shapes of the pepper status."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta


class PepperGeneration(msgspec.Struct, frozen=True):
    generation: int
    available: Annotated[bool, Meta(description="The console has the secret of this generation.")]
    keys: Annotated[int, Meta(description="Keys stored under this generation. They move to the newest one when they are used.")]
    ids: Annotated[int, Meta(description="Ids marked with this generation. Without it, the pre-filter does not cover them.")]
    cores: Annotated[int, Meta(description="Live Cores that would have to register again without this generation.")]
    imported: Annotated[int, Meta(description="Imported keys that can be found only with it. Rotate them before removing it.")]
    signing: Annotated[int, Meta(description="Signing secrets sealed under it. The console reseals them in the background.")]
    removable: Annotated[bool, Meta(description="Nothing depends on it: it can be removed from GATEHOUSE_PEPPER.")]


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
    writing: Annotated[int, Meta(description="Generation of new keys: the newest that every live gateway worker has.")]
    generations: list[PepperGeneration]

"""GET /v1/pepper: which generations of the pepper are still needed, and by how much."""

from __future__ import annotations

from gatehouse.doors.console.caller import Door
from gatehouse.flows.issue import writing_generation
from gatehouse.store.ports import GenerationUse
from gatehouse.wire.key_life import PepperGeneration, PepperStatus


async def pepper_status(door: Door) -> PepperStatus:
    """Tell how far a rotation of the pepper has come. Keys move to the newest generation when they are used."""
    uses = {use.generation: use for use in await door.keys.generations()}
    writing = await writing_generation(door.keys, door.pepper)
    rows = []
    for generation in sorted({*uses, *door.pepper.generations} - {0}):
        use = uses.get(generation, GenerationUse(generation, 0, 0, 0))
        rows.append(
            PepperGeneration(
                generation=generation,
                held=generation in door.pepper.generations,
                keys=use.keys,
                ids=use.ids,
                cores=use.cores,
                signing=use.signing,
                removable=generation not in {door.pepper.current, writing} and not (use.keys or use.cores or use.signing),
            )
        )
    return PepperStatus(current=door.pepper.current, writing=writing, generations=rows)

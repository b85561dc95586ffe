"""GET /v1/pepper: which generations of the pepper are still needed, and by how much."""

from __future__ import annotations

from gatehouse.doors.console.caller import Door
from gatehouse.flows.issue import writing_generation
from gatehouse.wire.key_life import PepperGeneration, PepperStatus


async def pepper_status(door: Door) -> PepperStatus:
    """Tell how far a rotation of the pepper has come. Keys move to the newest generation when they are used."""
    uses = {use.generation: use for use in await door.keys.generations()}
    writing = await writing_generation(door.keys, door.pepper)
    rows = []
    for generation in sorted({*uses, *door.pepper.generations} - {0}):
        use = uses.get(generation)
        keys, ids, cores, imported = (0, 0, 0, 0) if use is None else (use.keys, use.ids, use.cores, use.imported)
        rows.append(
            PepperGeneration(
                generation=generation,
                held=generation in door.pepper.generations,
                keys=keys,
                ids=ids,
                cores=cores,
                imported=imported,
                removable=generation not in {door.pepper.current, writing} and not (keys or cores or imported),
            )
        )
    return PepperStatus(current=door.pepper.current, writing=writing, generations=rows)

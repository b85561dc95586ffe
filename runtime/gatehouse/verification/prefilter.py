"""Rejects ids that cannot have been issued, so that guesses cost no database query. No I/O.

Ids of new keys carry a keyed mark (crypto/token.py). Ids without a mark, and marks of a pepper generation that is no longer
available, cannot be checked; while such a key exists, every id is looked up.
"""

from __future__ import annotations

from gatehouse.crypto.token import Pepper, is_marked
from gatehouse.keys.models import KeyId


class Prefilter:
    """Prefilter of one worker. `add` is called for every id generation in the database."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self.strict = True

    def add(self, id_generation: int) -> None:
        """Registers that a key with an id of this generation exists. An unknown generation disables the filter."""
        if id_generation not in self._pepper.generations:
            self.strict = False

    def plausible(self, key_id: KeyId) -> bool:
        """False if no key can have this id."""
        return not self.strict or is_marked(key_id, self._pepper)

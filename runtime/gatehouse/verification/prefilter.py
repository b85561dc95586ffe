"""Tells ids that nobody can have been given from those that may exist, so that guesses cost no look-up; it asks nobody.

Ids of new keys carry a keyed mark (core/apikey.py). Keys from before it, imported ones, and those whose mark was made under a
pepper generation that is not held any more cannot be judged; while there is one, ids without a mark are looked up as well."""

from __future__ import annotations

from gatehouse.crypto.token import Pepper, is_marked
from gatehouse.keys.models import KeyId


class Prefilter:
    """For one worker. `saw` is told of every id generation that is in the database, before and while the worker serves."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self.strict = True

    def saw(self, id_generation: int) -> None:
        """A key with an id of this generation exists. Once one cannot be judged, the filter lets everything through."""
        if id_generation not in self._pepper.generations:
            self.strict = False

    def plausible(self, key_id: KeyId) -> bool:
        """False only for an id that no key can have."""
        return not self.strict or is_marked(key_id, self._pepper)

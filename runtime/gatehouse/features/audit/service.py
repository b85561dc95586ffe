"""Records denied requests at a bounded rate, and creates checkpoints."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_chain import Checkpoint, is_signed, public_keys, signed_bytes
from gatehouse.core.audit_events import AuditAction, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Conflict, NotFound, Unavailable
from gatehouse.core.http.addresses import network_of
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import AuditStatus, checkpoint_view
from gatehouse.platform.aws import object_storage
from gatehouse.platform.aws.signing_key import KmsSigner

WINDOW_S = 60

#: Maximum number of IP addresses that have a separate row in each window. All other addresses share
#: one row.
ADDRESSES_MAX = 200
_OTHERS = "others"


@dataclass(slots=True, eq=False)
class DeniedAttempts:
    """Records denied requests. The first request from an IP address in a window is recorded
    immediately. Further requests are recorded as one count.

    The count is kept in memory until the window ends and is lost if the process is killed.
    """

    trail: AuditRepository
    clock: Clock
    service: str
    _window: int = 0
    _attempts: dict[str, int] = field(default_factory=dict)

    async def record(self, address: str, request_id: RequestId, reason: str) -> None:
        """Record a denied request. Does not raise if the database is unavailable, because the
        request is denied in any case.
        """
        await self.run_once()
        subject = network_of(address)
        if subject not in self._attempts and len(self._attempts) >= ADDRESSES_MAX:
            subject = _OTHERS
        if subject in self._attempts:
            self._attempts[subject] += 1
            return
        self._attempts[subject] = 0
        await self._write(subject, request_id, {"reason": reason, "attempts": 1})

    async def flush(self) -> None:
        attempts, self._attempts = self._attempts, {}
        for subject, count in attempts.items():
            if count:
                await self._write(subject, RequestId(""), {"attempts": count, "window_s": WINDOW_S})

    async def run_once(self) -> None:
        window = int(self.clock.now() // WINDOW_S)
        if window != self._window:
            self._window = window
            await self.flush()

    async def _write(self, subject: str, request_id: RequestId, details: Details) -> None:
        actor, at = Actor("system", "anonymous", request_id, subject), self.clock.now()
        event = actor.event(
            AuditAction.ACCESS_DENIED,
            target_id=self.service,
            at=at,
            details=details,
            outcome="denied",
        )
        with contextlib.suppress(Unavailable):  # the request log contains the denial
            await self.trail.append(event)


class CheckpointArchive:
    """Write-once storage outside the database: `s3://bucket/prefix/` with object lock, or a
    directory `file:/path`.

    Each checkpoint is one JSON file, whose name contains the hash: after a restore of the database,
    other events have the same numbers. `aws s3 sync` of the bucket produces the same files as the
    directory. S3 requires s3:PutObject: `If-None-Match: *` prevents an object from being
    overwritten, and the object lock prevents it from being deleted.
    """

    def __init__(self, location: str) -> None:
        is_bucket = re.fullmatch(r"s3://[^/]+", location) is not None
        self.prefix = f"{location}/" if is_bucket or location.startswith("file:") else location

    async def put(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint. Idempotent; a stored checkpoint is never overwritten. Raises
        Unavailable.
        """
        name = f"{checkpoint.seq:020d}-{checkpoint.hash.hex()[:16]}.json"
        location = f"{self.prefix}{name}".removeprefix("file:")
        content = msgspec.json.encode(checkpoint_view(checkpoint)) + b"\n"
        try:
            await asyncio.to_thread(
                object_storage.write,
                location,
                content,
                only_if="",
                content_type="application/json",
                make_folder=True,
            )
        except Conflict:
            return
        except NotFound as exc:
            raise Unavailable(
                "The checkpoint archive is not available.", detail=exc.public
            ) from exc


@dataclass(slots=True, eq=False)
class Checkpointer:
    """Creates a checkpoint if there are new rows and the last checkpoint is `interval_s` old, or if
    the last one is not signed with the key: a process with the rights of the application can insert
    checkpoints.

    A broken chain is never signed. Instead, each run calls `on_broken` with the sequence number of
    the first broken row. A checkpoint is stored in the archive first and then in the database, so
    the archive contains every checkpoint in the database.
    """

    trail: AuditRepository
    signer: KmsSigner
    archive: CheckpointArchive
    clock: Clock
    interval_s: float
    on_broken: Callable[[int], None] = lambda _: None
    _started_at: float = field(init=False)
    _due_since: float | None = field(default=None, init=False)
    #: The last row of a checkpoint that was not stored, because its row has one.
    _duplicate_seq: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock.now()

    @property
    def delay_s(self) -> float:
        """Time for which a checkpoint has been due; 0 if none is due."""
        return 0.0 if self._due_since is None else self.clock.monotonic() - self._due_since

    async def run_once(self) -> Checkpoint | None:
        """Create a checkpoint if one is due. Raises Unavailable, after which the next run tries
        again.
        """
        last = await self.trail.last_checkpoint()
        new_rows = await self.trail.newest_seq() - (0 if last is None else last.seq)
        age_s = self.clock.now() - (self._started_at if last is None else last.taken_at)
        # A negative number means that rows were deleted. `take` detects and reports the deletion.
        # A negative age means that the clock was set back.
        is_due = new_rows < 0 or (new_rows > 0 and not 0 <= age_s < self.interval_s)
        if not is_due and (last is None or await self._is_signed(last)):
            self._due_since = None
            return None
        if last is not None and new_rows == 0 and last.seq == self._duplicate_seq:
            return None  # after the next event; until then, the checkpoint is late
        if self._due_since is None:
            self._due_since = self.clock.monotonic()
        checkpoint = await self.take()
        if checkpoint is not None:
            self._due_since = None
        return checkpoint

    async def take(self) -> Checkpoint | None:
        """Create a checkpoint now. Returns None if there are no new rows or the chain is broken.
        Raises Unavailable.
        """
        last = await self.trail.last_checkpoint()
        newest = await self.trail.newest_seq()
        if last is not None and newest < last.seq:
            self.on_broken(newest + 1)
            return None
        known = last if last is not None and await self._is_signed(last) else None
        new = await self.trail.uncheckpointed(known)
        if new.broken is not None:
            self.on_broken(new.broken)
            return None
        if new.rows == 0:
            return None
        key_id, algorithm = await self.signer.key_id(), self.signer.algorithm
        unsigned = Checkpoint(
            new.last_seq, new.last_hash, self.clock.now(), key_id, algorithm, signature=b""
        )
        checkpoint = msgspec.structs.replace(
            unsigned, signature=await self.signer.sign(signed_bytes(unsigned))
        )
        await self.archive.put(checkpoint)
        if await self.trail.add_checkpoint(checkpoint):
            return checkpoint
        self._duplicate_seq = checkpoint.seq
        return None

    async def _is_signed(self, checkpoint: Checkpoint) -> bool:
        return is_signed(checkpoint, public_keys(await self.signer.public_key()))


@dataclass(frozen=True, slots=True)
class CheckpointReader:
    """Reads the last checkpoint. Methods raise Unavailable. `signer`: None if checkpoints are
    disabled.
    """

    trail: AuditRepository
    signer: KmsSigner | None

    async def status(self) -> AuditStatus:
        # The checkpoint is read first, so that it never covers an event after the newest one.
        checkpoint = await self.trail.last_checkpoint()
        public_key = None if self.signer is None else await self.signer.public_key()
        return AuditStatus(
            newest_seq=await self.trail.newest_seq(),
            enabled=self.signer is not None,
            checkpoint=None if checkpoint is None else checkpoint_view(checkpoint),
            public_key=None if public_key is None else public_key.decode(),
        )

"""Writes the data of several connections together, after the other callbacks of an event-loop
iteration.

If a peer on the same machine waits for data, each write wakes it, which takes about as long as the
write itself. Writes that follow each other immediately wake it once. The instructions of the
interpreter also stay in the caches of the processor while it handles several requests without
calling the kernel.
"""

import asyncio

#: Number of waiting writes at which they are performed immediately, so that the first one does not
#: wait for many requests.
WRITES_MAX = 64


class BatchedWrites:
    """The writes of a worker. Writes to a transport keep their order, as long as each of them is
    added.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def add(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Writes `data` before any callback or task that is scheduled from now on. Call `flush`
        before you close the transport or write to it directly."""
        waiting = self._waiting
        waiting.append((transport, data))
        if len(waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(waiting) >= WRITES_MAX:
            self.flush()

    def flush(self) -> None:
        """Performs the waiting writes now. Connections that were closed in the meantime are
        ignored.
        """
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)

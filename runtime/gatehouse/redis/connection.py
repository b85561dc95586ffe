"""One connection to Redis or Valkey: commands in, replies out, on asyncio streams and hiredis; anything wrong closes it.

Redis closes nothing by itself when it hangs, and a connection whose reply was given up on would hand that reply to the next
caller. So there is no half-broken state: a timeout or a cancellation closes the connection, and the next use opens a new one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import hiredis

from gatehouse.redis.credentials import RedisLogin

_READ_BYTES = 65_536


#: Opening a connection is no request's fault, yet requests wait for it: a little more than one call may take.
OPEN_TIMEOUT_S = 0.25


Reply = bytes | int | None | list["Reply"]


class RedisReplyError(Exception):
    """Redis answered with an error. Its text is the server's own; it never holds what we sent."""


class Script:
    """A Lua script that Redis keeps by the hash of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Not for concurrent use: one command at a time."""

    def __init__(self, login: RedisLogin) -> None:
        self._login = login
        self._context = login.context()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser = hiredis.Reader()

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    async def open(self, timeout_s: float) -> None:
        """Raises OSError, TimeoutError, RedisReplyError."""
        self.close()
        login = self._login
        try:
            async with asyncio.timeout(timeout_s):
                password = login.password if isinstance(login.password, str | None) else await login.password()
                host = login.host if self._context is not None else None
                self._reader, self._writer = await asyncio.open_connection(
                    login.host, login.port, ssl=self._context, server_hostname=host
                )
                self._parser = hiredis.Reader()
                if password is not None:
                    await self._exchange(("AUTH", login.user, password) if login.user else ("AUTH", password))
                if login.database:
                    await self._exchange(("SELECT", login.database))
        except BaseException:
            self.close()
            raise

    async def call(self, command: Sequence[str | bytes | int | float], timeout_s: float) -> Reply:
        """Raises OSError, TimeoutError (the connection is closed then), RedisReplyError (it stays open)."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(command)
        except RedisReplyError:
            raise
        except BaseException:
            self.close()
            raise

    async def evaluate(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int], timeout_s: float) -> Reply:
        """Runs a script; opens the connection first when it has to, which may take OPEN_TIMEOUT_S more. Raises as `call` does;
        the connection is closed after a refusal too.
        """
        if not self.is_open:
            await self.open(OPEN_TIMEOUT_S)
        try:
            return await self.call(("EVALSHA", script.sha, len(keys), *keys, *arguments), timeout_s)
        except RedisReplyError as exc:
            if str(exc) != "NOSCRIPT":
                self.close()
                raise
        # A restarted or flushed server has lost the script; EVAL brings it back.
        return await self.call(("EVAL", script.text, len(keys), *keys, *arguments), timeout_s)

    def close(self) -> None:
        """At once, without waiting for the peer."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.transport.abort()

    async def _exchange(self, command: Sequence[str | bytes | int | float]) -> Reply:
        if self._writer is None or self._reader is None:
            raise ConnectionError("not connected")
        arguments: Any = tuple(command)  # the stub of pack_command knows tuples of one argument only
        self._writer.write(hiredis.pack_command(arguments))
        while True:
            reply = self._parser.gets()
            if reply is not False:  # hiredis' word for "incomplete"
                if isinstance(reply, hiredis.ReplyError):
                    raise RedisReplyError(str(reply).split(" ", 1)[0])
                return reply  # type: ignore[no-any-return]
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise ConnectionError("closed by the server")
            self._parser.feed(data)

"""Notifications that no change causes: keys that expire soon, and credits that are used up."""

from gatehouse.core.clock import Clock
from gatehouse.features.notifications.repository import NotificationRepository

#: Reminders are sent this number of days before a key expires, if the lifetime of the key is at
#: least twice as long.
REMINDER_DAYS = (1, 7, 30)


async def report_credits(repository: NotificationRepository, clock: Clock) -> int:
    """Record customers whose shared credits are used up. Returns their number. Raises
    Unavailable.
    """
    total = 0
    while found := await repository.report_credits(now=clock.now()):
        total += found
    return total


async def remind(repository: NotificationRepository, clock: Clock) -> int:
    """Record reminders for keys that expire soon and return their number. Raises Unavailable.

    Shorter periods come first, so that a key with a one-day reminder does not get a seven-day
    reminder as well.
    """
    count = 0
    for position, days in enumerate(REMINDER_DAYS):
        while sent := await repository.remind(
            now=clock.now(), days=days, covered=REMINDER_DAYS[: position + 1]
        ):
            count += sent
    return count

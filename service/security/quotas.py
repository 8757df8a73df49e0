"""Counts the sessions of tenants and refuses to open more than a tenant may keep.

Sessions come and go in other processes, expire, and give way to others, so no running count would stay right. They are
counted in the store before anybody is refused, and once a minute while a tenant opens sessions; in between, what this
process opens is added. So a tenant may go beyond its quota by what other processes opened for it within that minute.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.keeper import Keeper
from service.security.caller import Caller, caller
from service.security.failures import QuotaReached

# Seconds after which a count is made anew, and in which a refusal needs no new one.
_FRESH, _RECENT = 60.0, 5.0
_PAGE = 500
# Tenants whose count is remembered.
_MOST = 4096


class _Count:
    """How many sessions a tenant has, as far as is known."""

    def __init__(self) -> None:
        self.sessions, self.at = 0, float("-inf")
        self.counting = asyncio.Lock()


class Quotas:
    """Room for so many sessions of each tenant."""

    def __init__(self, keeper: Keeper) -> None:
        """Take the keeper, which belongs to the caller."""
        self._keeper = keeper
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Take room for a session that the block opens for who asks; QuotaReached if there is none."""
        who = caller()
        if who.quota is None:
            yield
            return
        count = await self._counted(who, who.quota)
        if count.sessions >= who.quota:
            raise QuotaReached(
                f"the tenant keeps {who.quota} sessions, and may keep no more; delete some", quota=who.quota
            )
        count.sessions += 1
        try:
            yield
        except BaseException:
            count.sessions -= 1
            raise

    async def _counted(self, who: Caller, quota: int) -> _Count:
        count = self._counts.setdefault(who.tenant, _Count())
        self._counts.move_to_end(who.tenant)
        while len(self._counts) > _MOST:
            self._counts.popitem(last=False)
        if _old(count, quota):
            async with count.counting:
                if _old(count, quota):
                    count.at = time.monotonic()
                    count.sessions = await self._count(who.prefix, quota)
        return count

    async def _count(self, prefix: str, most: int) -> int:
        """Count the sessions of a tenant, no further than to ``most``."""
        found, after = 0, None
        while found < most:
            page = await self._keeper.scan(after, _PAGE, prefix)
            found += len(page.sessions)
            after = page.after
            if after is None:
                break
        return found


def _old(count: _Count, quota: int) -> bool:
    return time.monotonic() >= count.at + (_RECENT if count.sessions >= quota else _FRESH)

"""Lists of many keys use indexes, whatever they are filtered by."""

import json
from collections.abc import Iterator
from hashlib import md5
from typing import Any

import msgspec
import pytest
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.schemas import KeyFilter
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.web.fields import TOTAL_MAX
from gatehouse.services.console.references import References

from tests.runtime.conftest import Database
from tests.runtime.rows import customer_row, key_row, plan_row

KEYS = 20_000
RARE = 20


@pytest.fixture(scope="module")
def many_keys(database: Database) -> None:
    """Each of the states other than `active`, and each special name, customer and tag, is rare."""
    database.sql(
        "SET session_replication_role = replica; "
        + plan_row(";", name="'plan1'")
        + customer_row(
            "FROM generate_series(0, 49) AS n;",
            **{"id": "'team.' || n", "name": "'Team ' || n"},
            plan="CASE WHEN n = 1 THEN 'plan1' END",
        )
        + "DO $$ DECLARE search text := pg_get_indexdef('api_key_search'::regclass); BEGIN "
        "DROP INDEX api_key_search; "  # creating it later takes a fraction of the time
        + key_row(
            f"FROM generate_series(1, {KEYS}) AS n; EXECUTE search; END $$; ANALYZE api_key;",
            id="left(md5(n::text), 12)",
            state=f"CASE WHEN n <= {RARE} THEN 'revoked' "
            f"WHEN n <= {2 * RARE} THEN 'disabled' ELSE 'active' END",
            **{"name": "'key ' || n", "customer_id": "'team.' || n % 50", "family_id": "'f' || n"},
            scopes=f"CASE WHEN n <= {RARE} THEN ARRAY['role:auditor'] ELSE ARRAY['cores:read'] END",
            tags="ARRAY['even' || n % 2, 'tag' || n / 10]",
            expires_at=f"CASE WHEN n % 2 = 0 THEN now() + (n - {3 * RARE}) * interval '1 hour' END",
            revoked_at=f"CASE WHEN n <= {RARE} THEN now() END",
            change_seq="n",
        )
    )


class ExplainingPool:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.plans: list[Any] = []

    async def fetch(self, statement: str, *values: Any) -> Any:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}"
        self.plans += json.loads(await self._pool.fetchval(explain, *values))
        return await self._pool.fetch(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        [row] = await self.fetch(statement, *values)
        return row[0]


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("sort", ["id", "name", "-expires_at", "customer_id", "-state"])
@pytest.mark.parametrize(
    ("filters", "total"),
    [
        ({}, TOTAL_MAX),
        ({"search": "no such key"}, 0),
        ({"search": "KEY "}, TOTAL_MAX),
        ({"search": "key 1777"}, 11),
        ({"search": "K"}, TOTAL_MAX),
        ({"search": "ab"}, 90),
        ({"search": "abcd"}, 0),
        ({"search": "tag17"}, 10),
        ({"tag": "tag17"}, 10),
        ({"tag": "none"}, 0),
        ({"tag": "even0"}, TOTAL_MAX),
        ({"state": "active"}, TOTAL_MAX),
        ({"state": "revoked"}, RARE),
        ({"state": "deleted"}, 0),
        ({"state": "expired"}, RARE // 2),
        ({"expires_within_s": 3600 * RARE}, RARE // 2),
        ({"customer": "team.7"}, KEYS // 50),
        ({"search": "eam 7"}, KEYS // 50),
        ({"plan": "plan1"}, KEYS // 50),
        ({"customer": "nobody"}, 0),
        ({"has_role": True}, RARE),
    ],
)
async def test_lists_use_indexes(
    module_pool: Pool, many_keys: None, filters: dict[str, Any], total: int, sort: Any
) -> None:
    pool: Any = ExplainingPool(module_pool)
    keys, only = KeyRepository(pool, staleness_s=1), msgspec.convert(filters, KeyFilter)
    page, _ = await keys.page(after=None, size=50, only=only, sort=sort)
    assert await keys.count(only, None, TOTAL_MAX) == total
    assert len(page) == min(total, 50)
    steps = [node for plan in pool.plans for node in nodes(plan["Plan"])]
    of_keys = [node for node in steps if node.get("Relation Name") == "api_key"]
    assert len(of_keys) >= 2
    for node in of_keys:
        assert node["Node Type"] != "Seq Scan", f"a filter or a search uses no index: {node}"
        assert total == TOTAL_MAX or node.get("Rows Removed by Filter", 0) <= KEYS / 5, node


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("KEY 1777", ["key 1777"]),
        ("tag1777", [f"key {n}" for n in range(17_770, 17_780)]),
        ("no such key", []),
        (md5(b"1777", usedforsecurity=False).hexdigest()[:12], ["key 1777"]),
        ("key 177", ["key 177"]),
    ],
)
async def test_references_use_indexes(
    module_pool: Pool, many_keys: None, text: str, meant: list[str]
) -> None:
    pool: Any = ExplainingPool(module_pool)
    found = await References(pool).named(text, ("key", "customer"))
    names = [
        await module_pool.fetchval("SELECT name FROM api_key WHERE id = $1", each.id)
        for each in found
    ]
    assert sorted(names) == sorted(meant)
    steps = [node for plan in pool.plans for node in nodes(plan["Plan"])]
    of_keys = [node for node in steps if node.get("Relation Name") == "api_key"]
    assert of_keys
    for node in of_keys:
        assert node["Node Type"] != "Seq Scan", node
        assert node.get("Rows Removed by Filter", 0) <= KEYS / 5, node


@pytest.mark.parametrize(
    ("filters", "sort"), [({}, "-last_used_at"), ({"unused_for_s": 86_400}, "id")]
)
async def test_search_that_reads_all_keys_computes_no_trigrams(
    module_pool: Pool, many_keys: None, filters: dict[str, Any], sort: Any
) -> None:
    pool: Any = ExplainingPool(module_pool)
    keys = KeyRepository(pool, staleness_s=1)
    only = msgspec.convert({"search": "key", **filters}, KeyFilter)
    await keys.page(after=None, size=50, only=only, sort=sort)
    [plan] = [text for text in map(json.dumps, pool.plans) if '"api_key"' in text]
    assert "strpos" in plan
    assert "trigrams" not in plan


async def test_token_in_another_format_reads_no_list_of_keys(
    module_pool: Pool, many_keys: None
) -> None:
    pool: Any = ExplainingPool(module_pool)
    assert await KeyRepository(pool, staleness_s=1).schemes() == [("own", 0)]
    steps = [node for plan in pool.plans for node in nodes(plan["Plan"])]
    of_keys = [node for node in steps if node.get("Relation Name") == "api_key"]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in of_keys) <= 2
    assert not any(node.get("Rows Removed by Filter") for node in of_keys)

"""The tables as the management side's queries name them; the migrations own their shape."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

_metadata = MetaData()


_instant = DateTime(timezone=True)


api_key = Table(
    "api_key",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("digest", LargeBinary),
    Column("pepper_generation", Integer),
    Column("environment", Text),
    Column("state", Text),
    Column("name", Text),
    Column("owner", Text),
    Column("scopes", ARRAY(Text)),
    Column("cores", ARRAY(Text)),
    Column("limits", JSONB),
    Column("expires_at", _instant),
    Column("created_at", _instant),
    Column("created_by", Text),
    Column("revoked_at", _instant),
    Column("revoked_by", Text),
    Column("revoke_reason", Text),
    Column("version", BigInteger, server_default="1"),
    Column("change_seq", BigInteger, server_default="0"),
    Column("roles", ARRAY(Text)),
    Column("methods", ARRAY(Text)),
    Column("addresses", ARRAY(Text)),
    Column("has_credits", Boolean),
    Column("tags", ARRAY(Text)),
    Column("metadata", JSONB),
    Column("notes", Text),
    Column("family_id", Text),
    Column("generation", Integer),
    Column("successor_id", Text),
    Column("rotated_at", _instant),
    Column("deleted_at", _instant),
    Column("deleted_by", Text),
    Column("state_before", Text),
    Column("purged_at", _instant),
    Column("id_generation", Integer),
    Column("scheme", Text),
    Column("signing_algorithm", Text),
    Column("signing_key", LargeBinary),
    Column("signing_generation", Integer),
    Column("require_signature", Boolean),
)


key_credit = Table(
    "key_credit",
    _metadata,
    Column("family_id", Text, primary_key=True),
    Column("remaining", BigInteger),
    Column("refill_amount", BigInteger),
    Column("refill_every", Text),
    Column("refilled_at", _instant),
)


key_activity = Table(
    "key_activity",
    _metadata,
    Column("key_id", Text, primary_key=True),
    Column("last_used_at", _instant),
)


key_leak = Table(
    "key_leak",
    _metadata,
    Column("key_id", Text, primary_key=True),
    Column("place", LargeBinary, primary_key=True),
    Column("reported_at", _instant),
)


core = Table(
    "core",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("url", Text),
    Column("environment", Text),
    Column("lease_id", Text),
    Column("registered_by", Text),
    Column("pepper_generation", Integer),
    Column("expires_at", _instant),
    Column("draining", Boolean),
    Column("version", BigInteger),
    Column("change_seq", BigInteger),
)


gateway_worker = Table(
    "gateway_worker",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("confirmed_seq", BigInteger),
    Column("seen_at", _instant),
    Column("generations", ARRAY(Integer)),
)


audit_event = Table(
    "audit_event",
    _metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("occurred_at", _instant),
    Column("actor_type", Text),
    Column("actor_id", Text),
    Column("action", Text),
    Column("target_type", Text),
    Column("target_id", Text),
    Column("outcome", Text),
    Column("request_id", Text),
    Column("source_address", Text),
    Column("details", JSONB),
    Column("previous_hash", LargeBinary),
    Column("hash", LargeBinary),
)

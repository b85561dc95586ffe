"""SQL statements that insert rows, each without a source or one for each row of a source, such as
"FROM x". The values of columns are SQL expressions.
"""

from gatehouse.features.keys.fields import KeySettings


def key_row(source: str = "", **columns: str) -> str:
    defaults = {
        **{"id": "$1", "digest": "decode(repeat('00', 32), 'hex')", "pepper_generation": "1"},
        **{"environment": "'test'", "state": "'active'", "name": "'n'"},
        **{"scopes": "'{}'", "cores": "'{}'", "limits": "'[]'", "created_at": "now()"},
        "created_by": "'test'",
    }
    return _insert("api_key", defaults | columns, source)


def core_row(source: str = "", **columns: str) -> str:
    defaults = {
        **{"name": "'docs'", "url": "''", "environment": "'test'", "lease_id": "'lease'"},
        **{"registered_by": "$1", "pepper_generation": "1", "expires_at": "now()"},
    }
    return _insert("core", defaults | columns, source)


def customer_row(source: str = "", **columns: str) -> str:
    defaults = {
        **{"id": "$1", "name": "'a customer'", "state": "'active'", "has_credits": "false"},
        **{"contact": "''", "tags": "'{}'", "metadata": "'{}'", "notes": "''"},
        **{"created_at": "now()", "created_by": "'test'"},
    }
    return _insert("customer", defaults | columns, source)


def plan_row(source: str = "", **columns: str) -> str:
    defaults = {
        **{"name": "$1", "description": "''", "shared_limits": "'[]'"},
        **{"created_at": "now()", "created_by": "'test'"},
    }
    return _insert("plan", defaults | columns, source)


def usage_row(key_id: str, count: int, *, width_s: int) -> str:
    """Requests with a key in the current bucket."""
    values = {
        **{"width_s": f"{width_s}", "key_id": f"'{key_id}'", "core": "''", "code": "'VALID'"},
        "starts_at": f"to_timestamp(floor(extract(epoch FROM now()) / {width_s}) * {width_s})",
        "count": f"{count}",
    }
    return _insert("usage_count", values, "")


def request_row(source: str = "", **columns: str) -> str:
    """A request that was denied, unless `failed_check` is empty."""
    defaults = {
        **{"began_at": "now()", "key_id": "''", "core": "'docs'", "code": "'FORBIDDEN'"},
        **{"failed_check": "'address'", "detail": "''", "method": "'GET'", "path": "''"},
        **{"address": "'192.0.2.7'", "request_id": "''", "count": "1"},
    }
    return _insert("gateway_request", defaults | columns, source)


def contact_row() -> str:
    """The webhook that is the contact of the key in the examples of the API. Can be repeated."""
    values = {
        **{"id": f"'{KeySettings.example['contact']}'", "url": "'https://hooks.example.com'"},
        **{"events": "'{}'", "contact_only": "true", "pepper_generation": "1"},
        **{"created_at": "now()", "created_by": "'test'"},
    }
    return _insert("webhook", values, "ON CONFLICT DO NOTHING")


def _insert(table: str, values: dict[str, str], source: str) -> str:
    names, texts = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO {table} ({names}) SELECT {texts} {source}"

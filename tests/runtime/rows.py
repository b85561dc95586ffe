"""SQL statements that insert rows, each without a source or one for each row of a source, such as
"FROM x". The values of columns are SQL expressions.
"""


def key_row(source: str = "", **columns: str) -> str:
    defaults = {
        **{"id": "$1", "digest": "decode(repeat('00', 32), 'hex')", "pepper_generation": "1"},
        **{"environment": "'test'", "state": "'active'", "name": "'n'", "owner": "'o'"},
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


def _insert(table: str, values: dict[str, str], source: str) -> str:
    names, texts = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO {table} ({names}) SELECT {texts} {source}"

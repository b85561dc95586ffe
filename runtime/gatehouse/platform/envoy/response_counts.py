"""Counts the responses that clients received, from the statistics of Envoy: also those that Envoy
gives in place of a worker that was killed.

Source: www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/stats and
    www.envoyproxy.io/docs/envoy/v1.40.0/configuration/upstream/cluster_manager/cluster_stats
"""

import re
from dataclasses import dataclass, field
from urllib.parse import quote

_FIRST, _LAST = 2, 5
_CORES = "core_"
#: Statistics by class of the status: of the responses of a listener, and of those of a Core, which
#: include the errors of Envoy for a Core that does not respond. A retried attempt is not counted.
_NAME = r"^(?:http\.(\w+)\.downstream|cluster\.(core_[^.]+)\.upstream)_rq_([2-5])xx$"
PATH = f"/stats?filter={quote(_NAME)}"
_LINE = re.compile(f"{_NAME[:-1]}: (\\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counts:
    """failed: responses with status 5xx for which no Core was responsible."""

    failed: int = 0
    of_cores: int = 0
    errors_of_cores: int = 0


@dataclass(slots=True)
class Responses:
    """The responses since the last call of `added`."""

    _last: dict[tuple[str, str], int] = field(default_factory=dict)
    _failed: int = 0

    def added(self, statistics: str, service: str) -> Counts:
        """statistics: the response of Envoy to `PATH`. service: its name; Cores are behind the
        gateway.
        """
        counts = dict.fromkeys(("failed", "cores", "errors"), 0)
        for listener, cluster, status, value in _LINE.findall(statistics):
            if cluster and service == "gateway":
                added = self._difference(cluster, status, int(value))
                counts["cores"] += added
                counts["errors"] += added if status == "5" else 0
            elif listener == service and status == "5":
                counts["failed"] += self._difference(listener, status, int(value))
        # Envoy counts the response of a Core before the response to the client, and the statistics
        # can be read between the two.
        self._failed += counts["failed"] - counts["errors"]
        failed, self._failed = max(0, self._failed), min(0, self._failed)
        return Counts(failed, counts["cores"], counts["errors"])

    def _difference(self, name: str, status: str, value: int) -> int:
        """A cluster that is removed and added again counts from zero."""
        last = self._last.get((name, status), 0)
        self._last[name, status] = value
        return value - last if value >= last else value

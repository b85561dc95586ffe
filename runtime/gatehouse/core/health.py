"""The states in the health of a deployment, from the worst to the best, with their texts for
people.
"""

from typing import Literal

HealthState = Literal["unavailable", "no_report", "degraded", "not_called", "ok", "not_configured"]
HEALTH_STATES: dict[HealthState, str] = {
    "unavailable": "Unavailable",
    "no_report": "No report",
    "degraded": "Degraded",
    "not_called": "No call since the start",
    "ok": "OK",
    "not_configured": "Not configured",
}
#: Instead of the version of an instance that does not report it.
EARLIER_VERSION = "earlier version"

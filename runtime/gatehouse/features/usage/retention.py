"""How long the numbers of requests are kept."""

#: Seconds, by the width of a bucket in seconds.
RETENTION_S = {60: 2 * 86_400, 3600: 90 * 86_400, 86_400: 3 * 366 * 86_400}

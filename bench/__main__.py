"""Every measurement, one after the other: `make bench`. Nothing else should run on the machine meanwhile."""

from __future__ import annotations

from bench.gate import proxy, verify

verify.main()
proxy.main()

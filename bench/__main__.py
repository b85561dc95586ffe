"""Runs all benchmarks of the gateway: `make bench`. Run nothing else on the machine meanwhile."""

from __future__ import annotations

from bench.gateway import nginx, proxy, scale, transfer, verify

verify.main()
proxy.main()
scale.main()
transfer.main()
if nginx.missing():
    print(f"Skipped the comparison with nginx: {' and '.join(nginx.missing())} not on PATH.")
else:
    nginx.main()

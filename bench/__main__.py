"""Runs all benchmarks of the gateway: `make bench`. Run nothing else on the machine meanwhile."""

from __future__ import annotations

from bench.gateway import nginx, scale, throughput, transfer

throughput.main()
scale.main()
transfer.main()
if nginx.missing():
    print(f"Skipped the comparison with nginx: {' and '.join(nginx.missing())} not on PATH.")
else:
    nginx.main()

"""Every measurement, one after the other: `make bench`. Nothing else should run on the machine meanwhile."""

from __future__ import annotations

from bench.gateway import moving, nginx, proxy, scale, verify

verify.main()
proxy.main()
scale.main()
moving.main()
if nginx.missing():
    print(f"Left out, beside nginx: needs {' and '.join(nginx.missing())} on PATH.")
else:
    nginx.main()

"""Runs the benchmarks of the gateway: `make bench`. The machine must otherwise be idle.

`ratios` compares the throughput of the endpoints with the throughput of a server without logic, and
shows the CPU time per request. `--check` fails if a ratio is lower than the stored ratio. `nginx`
compares the gateway with nginx. `scale` measures many cached keys. `check` measures the CPU time
and the memory of a policy check of a large program.
"""

import argparse

from bench.gateway import nginx, ratios, throughput
from bench.policies import check_time

NAMES = ("ratios", "scale", "nginx", "check")
parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
parser.add_argument(
    "name", nargs="?", choices=NAMES, help="benchmark (default: all benchmarks of the gateway)"
)
numbers = {
    "keys": (100_000, "scale: number of keys"),
    "workers": (1, "nginx: number of gateway workers"),
    "resources": (3000, "check: number of resources"),
}
for option, (default, text) in numbers.items():
    parser.add_argument(
        f"--{option}", type=int, default=default, help=f"{text} (default: %(default)s)"
    )
parser.add_argument("--store", action="store_true", help="ratios: store the result")
parser.add_argument(
    "--check", action="store_true", help="ratios: fail if a ratio is lower than the stored ratio"
)
options = parser.parse_args()
if options.name in (None, "ratios"):
    ratios.main(check=options.check, store=options.store)
if options.name in (None, "scale"):
    throughput.cached_keys(options.keys)
if options.name in (None, "nginx"):
    if missing := nginx.missing():
        parser.exit(
            2 if options.name else 0,
            f"The comparison with nginx requires {' and '.join(missing)} on PATH.\n",
        )
    nginx.main(options.workers)
if options.name == "check":
    check_time.main(options.resources)

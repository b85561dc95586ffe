"""Runs the benchmarks: `make bench`. The machine must otherwise be idle.

`gateway` measures the gateway under realistic load, beside nginx and Envoy. `--check` fails if a
ratio is worse than the stored ratio. `check` measures the CPU time and the memory of a policy check
of a large program, and `clients` the CPU time of a verification by each client.
"""

import argparse

from bench.clients import verifications
from bench.gateway import ratios
from bench.policies import check_time

parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
parser.add_argument(
    "name",
    nargs="?",
    choices=("gateway", "check", "clients"),
    default="gateway",
    help="benchmark (default: %(default)s)",
)
numbers = {
    "workers": (1, "gateway: number of workers"),
    "resources": (3000, "check: number of resources"),
}
for option, (default, text) in numbers.items():
    parser.add_argument(
        f"--{option}", type=int, default=default, help=f"{text} (default: %(default)s)"
    )
parser.add_argument("--store", action="store_true", help="gateway: store the result")
parser.add_argument(
    "--check", action="store_true", help="gateway: fail if a ratio is worse than the stored ratio"
)
options = parser.parse_args()
if options.name == "check":
    check_time.main(options.resources)
elif options.name == "clients":
    verifications.main()
elif missing := ratios.missing():
    parser.exit(2, f"The benchmark requires {' and '.join(missing)} on PATH.\n")
else:
    ratios.main(workers=options.workers, check=options.check, store=options.store)

"""`make fuzz`: coverage-guided fuzzing of parsers with Atheris.

Each target starts with its corpus in `tools/fuzz/corpus`. New inputs are written to
`.gatehouse/fuzz/<target>`. The exit code is 1 if a target found a defect. Add the reported input to
the corpus, together with the correction.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".gatehouse" / "fuzz"
#: The stored inputs of each target: seeds, and one input for each defect that fuzzing found.
CORPUS = Path(__file__).with_name("corpus")
NAMES = ("token", "header", "signature", "path", "json")
INPUT_BYTES_MAX = 4096
_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz", description="Fuzz the parsers of the runtime."
    )
    parser.add_argument(
        "target", nargs="?", default="all", choices=("all", *NAMES), help="Target (default: all)."
    )
    parser.add_argument(
        "--seconds", type=int, default=60, help="Duration for each target (default: 60)."
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print(
            (
                "fuzz: Atheris is not installed. Atheris provides wheels for Linux and Python 3.11 "
                "to 3.13."
            ),
            file=sys.stderr,
        )
        return _ERROR
    if options.child:
        _fuzz(options.target, options.seconds)
    names = NAMES if options.target == "all" else (options.target,)
    command = [sys.executable, "-m", "tools.fuzz", "--child", "--seconds", str(options.seconds)]
    defects = [
        name
        for name in names
        if subprocess.run([*command, name], cwd=ROOT, check=False).returncode != 0
    ]
    print(
        f"fuzz: defects in {', '.join(defects)}; the inputs are in {WORK}"
        if defects
        else f"fuzz: no defects in {', '.join(names)}"
    )
    return 1 if defects else 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["gatehouse"]):
        from tools.fuzz.targets import TARGETS

    found, defects = WORK / name, WORK / "defects" / name
    for folder in (found, defects):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={defects}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(
        [sys.argv[0], *options, "-timeout=10", str(found), str(CORPUS / name)], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

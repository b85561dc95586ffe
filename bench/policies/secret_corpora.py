"""Precision and recall of the detection of secrets on published corpora (docs/guides/policies.md,
"Detection of secrets").

CredData labels lines of public repositories. Its labels name a commit and a line, so each
repository is read from a Git clone. The tests of the keyword detector of detect-secrets are lines
with the secret that they contain, or None.
"""

import ast
import binascii
import csv
import hashlib
import json
import os
import re
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gatehouse_policies.analysis.secret_detection import looks_secret

REPOSITORIES = {
    "12 repositories": """sahat/hackathon-starter laradock/laradock davestephens/ansible-nas docker/awesome-compose arachnys/cabot
        wuyouzhuguli/SpringAll open-falcon/falcon-plus authelia/authelia juicycleff/ultimate-backend huginn/huginn
        kubernetes-sigs/kubespray oracle/docker-images""",  # noqa: E501
    (
        "10 other repositories"
    ): """eddycjy/go-gin-example wardviaene/kubernetes-course CTFd/CTFd alibaba/canal Shopify/shipit-engine
        go-acme/lego aqzt/kjyw cloudfoundry/credhub kataras/iris ThreeMammals/Ocelot""",  # noqa: E501
    (
        "10 repositories that were not used"
    ): """nats-io/nats-server cloudskiff/driftctl plotly/falcon LibertyGlobal/grafana
        aspnet-contrib/AspNet.Security.OAuth.Providers Kononnable/typeorm-model-generator spotify/docker-client
        threedr3am/learnjavabug hussien89aa/KotlinUdemy juice-shop/juice-shop""",  # noqa: E501
}
_SUFFIXES = (
    "yml yaml env properties json toml ini conf cfg tf example envrc config template sample dist j2"
)
_CONFIGURATION = frozenset(_SUFFIXES.split())
_TRANSLATION = re.compile(r"i18n|locale|translation|lang/")
_VALUE = r"""@?(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|`(?P<tick>[^`]*)`|(?P<plain>[^\s"'`,;][^\s"'`;]*))"""  # noqa: E501
_PAIR = re.compile(
    r"""(?<![\w$.-])\$?["'`]?(?P<name>[A-Za-z_][\w.-]*(?:\[\d*\])?)["'`]?(?:\s+string)?\s*"""
    rf"""(?P<operator>::?:?=|\?=|===?|=>|\.=|=|:|,)\s*{_VALUE}"""
)
_ELEMENT = re.compile(r"<(?P<name>[A-Za-z_][\w.-]*)>\s*(?P<value>[^<>]+?)\s*</(?P=name)>")
_NAME_BEFORE = re.compile(r"""([A-Za-z_][\w.-]*)["'\]]*\s*(?::?=>?|=>|:|\s)\s*["'`]?$""")
_TESTS = (
    "CONFIG_TEST_CASES",
    "GOLANG_TEST_CASES",
    "COMMON_C_TEST_CASES",
    "C_PLUS_PLUS_TEST_CASES",
    "QUOTES_REQUIRED_TEST_CASES",
)

Labels = dict[tuple[str, str], bool]
"""Pairs of name and value. True: the value is a secret."""


@dataclass(frozen=True, slots=True)
class Result:
    """Numbers of secrets and other settings, and how many of each the detection reports as a
    secret.
    """

    secrets: int
    others: int
    found: int
    false_alarms: int

    def line(self) -> str:
        precision = 100 * self.found / max(1, self.found + self.false_alarms)
        recall = 100 * self.found / max(1, self.secrets)
        return (
            f"{self.secrets} secrets, {self.others} others: precision {precision:.1f} %, "
            f"recall {recall:.1f} %"
        )


def main(creddata: Path | None, repositories: Path | None, detect_secrets: Path | None) -> None:
    """Prints the results. repositories: folder with a clone of each repository, named
    owner+name.
    """
    if detect_secrets is not None:
        print(
            "detect-secrets:",
            measure(keyword_tests(detect_secrets / "tests/plugins/keyword_test.py")).line(),
        )
    if creddata is not None and repositories is not None:
        for title, names in REPOSITORIES.items():
            labels = labelled_settings(creddata, repositories, names.split())
            print(f"CredData, {title}:", measure(labels).line(), flush=True)


def measure(labels: Labels) -> Result:
    reported = {pair for pair in labels if looks_secret(*pair)}
    secrets = {pair for pair, secret in labels.items() if secret}
    return Result(
        len(secrets), len(labels) - len(secrets), len(secrets & reported), len(reported - secrets)
    )


def labelled_settings(creddata: Path, repositories: Path, names: list[str]) -> Labels:
    """The settings in configuration files of the repositories. A pair with two labels has the first
    one.
    """
    labels: Labels = {}
    snapshot = json.loads((creddata / "snapshot.json").read_text(encoding="utf-8"))
    for key, url in snapshot.items():
        name = url.removeprefix("https://github.com/")
        if name in names:
            clone = Clone(repositories / name.replace("/", "+"), key[:40])
            with (creddata / "meta" / f"{zlib.crc32(binascii.unhexlify(key)):08x}.csv").open(
                encoding="utf-8"
            ) as file:
                for row in csv.DictReader(file):
                    pair = _setting(row, clone)
                    if (
                        pair
                        and pair[1].strip()
                        and row["GroundTruth"] != "X"
                        and row["Category"] != "UUID"
                    ):
                        labels.setdefault(pair, row["GroundTruth"] == "T")
    return labels


class Clone:
    """One commit of a Git clone."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._git = ("git", "-C", str(folder))
        self._commit = commit
        listed = self._output("ls-tree", "-r", "--name-only", "-z", commit).split("\0")
        self.paths = {
            hashlib.sha256(path.encode()).hexdigest()[:8]: path for path in listed if path
        }
        self.lines = cache(self._lines)

    def _lines(self, path: str) -> list[str]:
        """Empty if the clone does not contain the file."""
        try:
            return self._output("show", f"{self._commit}:{path}").split("\n")
        except subprocess.CalledProcessError:
            return []

    def _output(self, *arguments: str) -> str:
        environment = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
        process = subprocess.run(
            (*self._git, *arguments), capture_output=True, check=True, env=environment
        )
        return process.stdout.decode(errors="replace")


def _setting(row: dict[str, str], clone: Clone) -> tuple[str, str] | None:
    """The name and the value of a labelled line. None: not one setting of a configuration file."""
    path = clone.paths.get(row["FileID"], "")
    if not path or not _is_configuration(row["FilePath"], path) or _TRANSLATION.search(path):
        return None
    lines, number = clone.lines(path), int(row["LineStart"]) - 1
    if number >= len(lines) or row["LineStart"] != row["LineEnd"]:
        return None
    line, start, end = lines[number].rstrip("\r"), row["ValueStart"], row["ValueEnd"]
    if start in ("", "-1") or end in ("", "-1"):
        found = pairs(line)
        return found[0] if len(found) == 1 else None
    value = line[int(start) : int(end)]
    name = _NAME_BEFORE.search(line[: int(start)])
    if name is None:
        return None
    if row["Category"] in ("URL Credentials", "Basic Authorization") or name[1] in (
        "Basic",
        "Bearer",
    ):
        return max(
            (pair for pair in pairs(line) if value in pair[1]),
            key=lambda pair: len(pair[1]),
            default=None,
        )
    return name[1], value


def _is_configuration(labelled_path: str, path: str) -> bool:
    suffix = labelled_path.rsplit("/", 1)[-1].rpartition(".")
    by_suffix = bool(suffix[1]) and suffix[2].lower() in _CONFIGURATION
    return by_suffix or path.rsplit("/", 1)[-1].startswith(".env") or "Dockerfile" in path


def pairs(line: str) -> list[tuple[str, str]]:
    """The assignments in a line of configuration or code, and XML elements with text."""
    found = [(match["name"], match["value"]) for match in _ELEMENT.finditer(line)]
    for match in _PAIR.finditer(line):
        value = next(
            match[group]
            for group in ("double", "single", "tick", "plain")
            if match[group] is not None
        )
        if match["operator"] != "," or match["plain"] is None:
            found.append((match["name"], value))
    return found


def keyword_tests(file: Path) -> Labels:
    """The lines of the tests as settings. A line whose label depends on the programming language is
    a secret.
    """
    labels: Labels = {}
    for line, secret in _test_lines(file):
        if secret:
            before = line[: line.find(secret)]
            name = re.search(
                r"([A-Za-z_]\w*)(?:\[\d*\])?[\"']?\s*(?::?=+|!==?|:|=>|\.assign\()?\s*\(?@?[\"'`]?$",
                before,
            )
            name = name or re.search(
                r"(?:[!=]==?)\s*([A-Za-z_]\w*)", line[len(before) + len(secret) :]
            )
            if name:
                labels[name[1], secret] = labels.get((name[1], secret), True)
        else:
            setting = re.match(
                r"([A-Za-z_]\w*)(?:\[\])?\s*(?::?=>?|=>|:)\s*@?([\"'`]?)(.*?)\2;?$", line
            )
            if setting and setting[3]:
                labels.setdefault((setting[1], setting[3]), False)
    return labels


def _test_lines(file: Path) -> Iterator[tuple[str, str | None]]:
    """The test cases of the module, read without running it."""
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def text(node: ast.expr) -> str | None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return (text(node.func.value) or "").format(*map(text, node.args))
        if isinstance(node, ast.Name):
            return text(assigned[node.id]) if node.id != "LONG_LINE" else ""
        return None if not isinstance(node, ast.Constant) or node.value is None else str(node.value)

    for name in _TESTS:
        cases = assigned[name]
        assert isinstance(cases, ast.List)
        for case in cases.elts:
            assert isinstance(case, ast.Tuple)
            yield text(case.elts[0]) or "", text(case.elts[1])

"""Benchmark of the detection of secrets: labelled lines of a CredData checkout, and tests of
detect-secrets.
"""

import hashlib
import json
import subprocess
import zlib
from pathlib import Path

from bench.policies.secret_corpora import Result, keyword_tests, labelled_settings, measure
from tests import requires

pytestmark = requires.program("git")

FIELDS = "FileID,FilePath,LineStart,LineEnd,GroundTruth,ValueStart,ValueEnd,Category"
LINES = """password: "hunter2-Prod"
token_url: https://example.com/token
id: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
secret: maybe
"""
LABELS = ["1,1,T,11,23,Password", "2,2,F,,,Token", "3,3,T,,,UUID", "4,4,X,,,Secret"]


def commit(folder: Path) -> str:
    git = ("git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run((*git, "init", "-q"), check=True)
    subprocess.run((*git, "add", "."), check=True)
    subprocess.run((*git, "commit", "-q", "-m", "settings"), check=True)
    return subprocess.run(
        (*git, "rev-parse", "HEAD"), check=True, capture_output=True, text=True
    ).stdout.strip()


def test_labelled_settings_are_read_from_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clones" / "acme+gateway"
    (clone / "config").mkdir(parents=True)
    (clone / "config/app.yml").write_text(LINES)
    key = commit(clone) + "0" * 24
    file_id = hashlib.sha256(b"config/app.yml").hexdigest()[:8]
    (tmp_path / "meta").mkdir()
    (tmp_path / "snapshot.json").write_text(json.dumps({key: "https://github.com/acme/gateway"}))
    rows = "\n".join(f"{file_id},data/{file_id}.yml,{label}" for label in LABELS)
    (tmp_path / "meta" / f"{zlib.crc32(bytes.fromhex(key)):08x}.csv").write_text(
        f"{FIELDS}\n{rows}\n"
    )

    labels = labelled_settings(tmp_path, tmp_path / "clones", ["acme/gateway"])

    assert labels == {
        ("password", "hunter2-Prod"): True,
        ("token_url", "https://example.com/token"): False,
    }
    assert measure(labels) == Result(secrets=1, others=1, found=1, false_alarms=0)


def test_tests_of_detect_secrets_are_read_without_running_them(tmp_path: Path) -> None:
    source = "\n".join(
        [
            "import absent_module",
            "SECRET = 'm{{h}o'",
            (
                "CONFIG_TEST_CASES = [('apikey = {}'.format(SECRET), SECRET), ('password: "
                "${link}', None), ('token = \"\"', None)]"
            ),
            *(
                f"{name}_TEST_CASES = []"
                for name in ("GOLANG", "COMMON_C", "C_PLUS_PLUS", "QUOTES_REQUIRED")
            ),
        ]
    )
    (tmp_path / "keyword_test.py").write_text(source)

    assert keyword_tests(tmp_path / "keyword_test.py") == {
        ("apikey", "m{{h}o"): True,
        ("password", "${link}"): False,
    }

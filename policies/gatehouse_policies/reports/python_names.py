"""The names of properties in a Python program, in the messages and remedies of findings.

Rules use the names of the provider's schema, such as `allowedAccountIds`, which is
`allowed_account_ids` in Python. Keys of JSON documents keep their names.
"""

import functools
import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from pulumi_local.schema import camel
from pulumi_local.type_tokens import AWS_PROVIDER, aws

_CLASS = re.compile(r"\baws\.([a-z]\w*\.[A-Z]\w+)")
# Words in camel case, but no values in quotation marks, and no keys such as aws:allowedAccountIds.
_WORD = re.compile(r'"[^"]*"|(?<![:\w])[a-z][a-z0-9]*(?:[A-Z]\w*)')
_INPUT = re.compile(r"^ {17}(\w+): (pulumi.*|Optional.*)", re.MULTILINE)
_BLOCK = re.compile(r"^class (\w+)Dict\(|^    (\w+): (.*)", re.MULTILINE)
_ARGUMENTS = re.compile(r"'(\w+Args)")


def in_python(text: str, token: str) -> str:
    """The text with the names of the inputs of the resource type, and of the types that the text
    names, such as "aws.s3.BucketLogging" and "provider".
    """
    known: dict[str, str] = {}
    provider = [AWS_PROVIDER] if "provider" in text else []
    for each in (*provider, token, *(aws(name[1])[0] for name in _CLASS.finditer(text))):
        known |= _names(each)

    def replaced(word: re.Match[str]) -> str:
        return known.get(word[0], word[0])

    return _WORD.sub(replaced, text) if known else text


def python_name(name: str, token: str) -> str:
    """The Python name of an input of a type, or of a property of a block in it."""
    return _names(token).get(name, name)


@functools.cache
def _names(token: str) -> Mapping[str, str]:
    """The Python name of each input of a type, and of the blocks in it, keyed by camel case."""
    file = _file(token)
    if file is None:
        return {}
    inputs = _INPUT.findall(file.read_text(encoding="utf-8"))
    blocks = _blocks(file.with_name("_inputs.py"))
    names = {name for name, _ in inputs}
    pending = {block for _, hint in inputs for block in _ARGUMENTS.findall(hint)}
    visited = set[str]()
    while pending:
        block = pending.pop()
        visited.add(block)
        for name, hint in blocks.get(block, ()):
            names.add(name)
            pending |= set(_ARGUMENTS.findall(hint)) - visited
    return {camel(name): name for name in names if "_" in name}


def _file(token: str) -> Path | None:
    """The file of the resource class. The module is not imported, which takes up to a second."""
    package = importlib.util.find_spec("pulumi_aws")
    if package is None or package.origin is None:
        return None
    library = Path(package.origin).parent
    if token == AWS_PROVIDER:
        return library / "provider.py"
    provider, _, rest = token.partition(":")
    path, _, name = rest.partition(":")
    module = path.partition("/")[0]
    folder = library / (f"{module}_" if keyword.iskeyword(module) else module)
    files = folder.glob("*.py") if provider == "aws" and name else ()
    return next((file for file in files if file.stem.replace("_", "") == name.lower()), None)


@functools.cache
def _blocks(file: Path) -> Mapping[str, list[tuple[str, str]]]:
    """The properties of the blocks of a module: name and type, keyed by class."""
    blocks: dict[str, list[tuple[str, str]]] = {}
    block = ""
    for start, name, hint in _BLOCK.findall(
        file.read_text(encoding="utf-8") if file.is_file() else ""
    ):
        block = start or block
        if name:
            blocks.setdefault(block, []).append((name, hint))
    return blocks

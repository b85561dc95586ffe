"""Lambda functions and who may call them."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pulumi

from sandbox.emulator import moto_state
from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def _code(make: Make, parameters: dict[str, Any]) -> None:
    archive = make.take("code")
    code: dict[str, Any] = {}
    if archive is not None:
        code["ZipFile"] = zipped(archive)
    for name, member in (
        ("s3Bucket", "S3Bucket"),
        ("s3Key", "S3Key"),
        ("s3ObjectVersion", "S3ObjectVersion"),
        ("imageUri", "ImageUri"),
    ):
        if make.take(name):
            code[member] = make.peek(name)
    parameters["Code"] = code


def zipped(archive: Any) -> bytes:
    """The zip that Pulumi would upload: the same bytes for the same content, without caches of Python."""
    if isinstance(archive, pulumi.FileArchive) and Path(archive.path).is_file():
        return Path(archive.path).read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in sorted(_files(archive, "").items()):
            target.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content)
    return buffer.getvalue()


def _files(archive: Any, prefix: str) -> dict[str, bytes]:
    if isinstance(archive, pulumi.FileArchive):
        root = Path(archive.path)
        found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {f"{prefix}{path.relative_to(root).as_posix()}": path.read_bytes() for path in found}
    if isinstance(archive, pulumi.AssetArchive):
        files: dict[str, bytes] = {}
        for name, item in archive.assets.items():
            files.update(
                _files(item, f"{prefix}{name}/") if isinstance(item, pulumi.Archive) else {f"{prefix}{name}": _content(item)}
            )
        return files
    raise TypeError(f"{type(archive).__name__} is not an archive on this machine")


def _content(asset: Any) -> bytes:
    if isinstance(asset, pulumi.FileAsset):
        return Path(asset.path).read_bytes()
    if isinstance(asset, pulumi.StringAsset):
        return asset.text.encode()
    raise TypeError(f"{type(asset).__name__} is not an asset on this machine")


def _details(make: Make, function: dict[str, Any]) -> dict[str, Any]:
    reserved = make.take("reservedConcurrentExecutions")
    if reserved is not None and int(reserved) >= 0:
        make.call(
            "lambda.put_function_concurrency",
            FunctionName=function["FunctionName"],
            ReservedConcurrentExecutions=int(reserved),
        )
    moto_state.function_logging(make, function["FunctionName"], function["Version"])
    arn = function["FunctionArn"]
    return {
        "arn": arn,
        "name": function["FunctionName"],
        "invokeArn": _invoke_arn(make.region, arn),
        "qualifiedArn": f"{arn}:{function['Version']}",
    }


def _alias(make: Make, alias: dict[str, Any]) -> dict[str, Any]:
    arn = alias["AliasArn"]
    return {"arn": arn, "invokeArn": _invoke_arn(make.region, arn)}


def _invoke_arn(region: str, arn: str) -> str:
    """What API Gateway calls to invoke this function, version or alias."""
    return f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"


def _permission(make: Make) -> tuple[str, dict[str, Any]]:
    names = {"function": "FunctionName", "qualifier": "Qualifier"}
    parameters = make.parameters("lambda.add_permission", names=names)
    parameters.setdefault("StatementId", make.registration.name)
    make.call("lambda.add_permission", parameters)
    return parameters["StatementId"], {"statementId": parameters["StatementId"]}


ROWS: dict[str, Row] = {
    "aws:lambda/function:Function": Row(
        call="lambda.create_function",
        id="{FunctionName}",
        names={"name": "FunctionName", "kmsKeyArn": "KMSKeyArn"},
        shape=_code,
        then=_details,
        by_hand=("code", "s3Bucket", "s3Key", "s3ObjectVersion", "imageUri", "reservedConcurrentExecutions"),
        ignored={"sourceCodeHash": HOW_PULUMI_WORKS, "skipDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:lambda/alias:Alias": Row(call="lambda.create_alias", id="{AliasArn}", then=_alias),
    "aws:lambda/permission:Permission": Row(make=_permission),
}

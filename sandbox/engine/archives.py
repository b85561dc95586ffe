"""The content of Pulumi assets and archives; archives are ZIP files."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pulumi

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def zip_bytes(archive: Any) -> bytes:
    """The archive as a ZIP file. Deterministic: fixed timestamps, sorted names, no `__pycache__`."""
    if isinstance(archive, pulumi.FileArchive) and Path(archive.path).is_file():
        return Path(archive.path).read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(_files(archive, "").items()):
            target.writestr(zipfile.ZipInfo(name, _TIMESTAMP), data)
    return buffer.getvalue()


def _files(archive: Any, prefix: str) -> dict[str, bytes]:
    if isinstance(archive, pulumi.FileArchive):
        root = Path(archive.path)
        files_below = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {f"{prefix}{path.relative_to(root).as_posix()}": path.read_bytes() for path in files_below}
    if isinstance(archive, pulumi.AssetArchive):
        files: dict[str, bytes] = {}
        for name, item in archive.assets.items():
            is_archive = isinstance(item, pulumi.Archive)
            files |= _files(item, f"{prefix}{name}/") if is_archive else {f"{prefix}{name}": content(item)}
        return files
    raise TypeError(f"{type(archive).__name__} is not a local archive")


def content(asset: Any) -> bytes:
    """The content of a local asset or archive."""
    if isinstance(asset, pulumi.Archive):
        return zip_bytes(asset)
    if isinstance(asset, pulumi.FileAsset):
        return Path(asset.path).read_bytes()
    if isinstance(asset, pulumi.StringAsset):
        return asset.text.encode()
    raise TypeError(f"{type(asset).__name__} is not a local asset")

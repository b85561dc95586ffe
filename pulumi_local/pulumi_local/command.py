"""Runs the commands of a command line: errors are one message, no call reaches the AWS account of
the user, and calls of the packs reach no proxy.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pulumi_local.errors import CommandError
from pulumi_local.private_files import private_folder, write_private

WITHOUT_AWS_PROFILE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Variables that prevent the AWS SDKs from using the user's profile or the credentials of an EC2
instance.
"""
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""The only variables of the AWS SDKs that a command keeps."""
_ERROR = 2


def run(command: Callable[[], int], home: Path) -> int:
    """Run a command and return its exit code. Errors are reported as one message on standard error,
    without a traceback.

    home: folder in which the traceback of an unexpected error is written.
    """
    for name in [
        name for name in os.environ if name.startswith("AWS_") and name not in REGION_VARIABLES
    ]:
        del os.environ[name]
    os.environ |= {**WITHOUT_AWS_PROFILE, "no_grpc_proxy": "127.0.0.1"}
    try:
        return command()
    except CommandError as problem:
        sys.stderr.write(f"error: {problem.message}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
    except BrokenPipeError:
        # The reader of the pipe has exited (`| head`).
        sys.stderr.close()
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
            sys.stderr.write(
                "error: a disk is full. `df -h` lists the disks. Free space, and run the "
                "command again.\n"
            )
            return _ERROR
        file = private_folder(home) / "error.log"
        write_private(file, traceback.format_exc())
        sys.stderr.write(
            f"error: unexpected {type(problem).__name__}: {problem}. Traceback: {file}\n"
        )
    return _ERROR


def write_output(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise CommandError(f"{file} cannot be written: {problem.strerror}.") from problem

"""Runs one command that receives a signal when its parent ends, optionally as another user.

Run as a script: `python -I -S child_launcher.py <parent pid> <signal> <uid> <gid> <command> ...`
(uid -1 is the current user). A separate script is used instead of `preexec_fn`, which can deadlock
in a process with threads (docs.python.org, subprocess).
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h: signal when the parent ends


def main(arguments: list[str]) -> None:
    """Replace this process with the command, or exit with 127 and an error message. Does not
    return.
    """
    parent, signal_number, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, which clears the signal (prctl(2)).
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # the parent ended before prctl
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as problem:
        sys.stderr.write(f"{command[0]}: {problem.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])

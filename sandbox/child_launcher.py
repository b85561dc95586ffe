"""Starts one command so that it cannot outlive the sandbox, as another user if asked, then becomes that command.

Run as a script: `python -I -S tether.py <parent pid> <signal> <uid> <gid> <command> ...` (uid -1 keeps the user).
A step of its own instead of `preexec_fn`, which may deadlock in a process that has threads (docs.python.org,
subprocess).
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h: the signal this process gets when its parent ends, however it ends


def main(arguments: list[str]) -> None:
    """Never returns: replaces this process by the command, or exits 127 with one line on standard error."""
    parent, signal_number, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid: the kernel clears the death signal when a process changes its credentials (prctl(2)).
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)  # the parent died before the tie was made
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as problem:
        sys.stderr.write(f"{command[0]}: {problem.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])

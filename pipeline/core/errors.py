"""The ways a job can end other than well; each carries its exit code.

0 done, 1 failed (the environment or the program), 2 bad configuration or input,
75 interrupted: run the same command again (``EX_TEMPFAIL``).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 75

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EMFILE: "too many files are open",
    errno.EFBIG: "the file would pass the size that is allowed (ulimit -f)",
    errno.ENOLCK: "files cannot be locked there (on NFS: no lock daemon)",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network file system has lost the file",
}


class IsobarError(Exception):
    """Base of the errors that end a job with one clear line instead of a traceback."""

    exit_code = FAILED


class InputError(IsobarError):
    """A config, file or argument of the user is wrong: the message says which, why, what is allowed, what to do."""

    exit_code = BAD_INPUT


class EnvironmentFault(IsobarError):
    """The machine failed the job (disk full, no permission, device lost): fix it, then run the same command."""

    exit_code = FAILED


class Interrupted(IsobarError):
    """A signal or a time limit stopped the job at a safe point; the same command goes on from there."""

    exit_code = INTERRUPTED


def shorten(items: Iterable[object], most: int = 5) -> str:
    """Join items for a message of one line: the first ``most``, then how many more there are."""
    names = [" ".join(str(item).splitlines()) for item in items]
    tail = f", … and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + tail


def folder_fault(error: OSError, path: object) -> EnvironmentFault:
    """Return the one-line fault for a folder that could not be made."""
    return EnvironmentFault(f"{path}: cannot make this folder ({error.strerror}); choose another place for it")


def disk_fault(error: OSError, path: object) -> EnvironmentFault | None:
    """Return the one-line fault for an ``OSError`` that is the machine's and not the program's, else ``None``."""
    reason = _DISK.get(error.errno or 0)
    if reason is None:
        return None
    return EnvironmentFault(f"{path}: cannot write, {reason}; mend that and run the same command again")

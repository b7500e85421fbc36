"""The kinds of trouble this project knows, and what to tell of the errors of others."""

from __future__ import annotations


class UserError(Exception):
    """The options or the input are wrong. Its message is one line that says what to change (exit status 2)."""


class ImageError(Exception):
    """One picture cannot be read, or something is wrong with it. It becomes a row of ``errors/`` and never stops a job.

    Attributes:
        code: short and stable, for scripts: one of ``CODES``.
        message: for people; names the file or says what the decoder said.
    """

    CODES = frozenset(
        {
            "empty",  # no bytes at all
            "unknown_format",  # bytes that no decoder recognises
            "truncated",  # the file ends before the picture does
            "corrupt",  # the decoder gave up
            "too_large",  # more pixels, bytes, scans or memory than are allowed, before or while it is decoded
            "timeout",  # not decoded within --image-timeout
            "crashed",  # the decoder ended its process, or raised what no decoder should
            "not_found",  # the path does not exist
            "not_a_file",  # the path is a folder, a device or a pipe
            "forbidden_path",  # the path leaves --image-root, or the input's file system without --allow-store
            "unsupported_url",  # http, or a scheme that no file system here opens
            "unreadable",  # permission denied, the storage failed, or memory was short
            "bad_base64",  # a data: URI or base64 string that does not decode
            "bad_row",  # a line that is no row: cut off, no JSON, no UTF-8, no object, or a key twice in one
            "bad_hash",  # a ready hash that is neither hex nor binary
            "bad_vector",  # an embedding that is empty, of another length than others, or without a direction
            "odd_end",  # a warning: the end marker is missing, or something comes behind it
            "odd_text",  # a warning: texts, or other things beside the picture, were left out
            "many_frames",  # a warning: only the first of very many frames count
        }
    )

    def __init__(self, code: str, message: str) -> None:
        # A decoder may say anything; what cannot be written down is shown escaped.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        assert code in self.CODES, code
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return ImageError, (self.code, self.message)


#: Codes of errors that the next run, with the storage, machine or decoder that it has, may not meet.
MOMENTARY = (
    "not_found", "not_a_file", "forbidden_path", "unsupported_url", "unreadable", "timeout", "crashed"
)  # fmt: skip


class JobError(Exception):
    """The job ran and failed for a reason that it can state in one line (exit status 3)."""


class CopyMismatch(Exception):
    """The file does not hold the rows that Spark read there, or holds what cannot be copied as it is."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says anything, or the kind of error if none does."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def printable(text: str) -> str:
    """Without what a terminal would obey, or show in another order."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def one_line(error: BaseException) -> str:
    """An error's whole message on one line; the kind of error if it cannot say anything."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return type(error).__name__

"""Views as they lie in prints: no pixels here.

A row's views are entries of bytes, each the view's number and the hashes as ``pack.codes_of`` has them. Views that are
equal to the whole or to one before are left out: they would match nothing that those do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.kernels.arrow import fixed_bytes
from imgdedup_spark.kernels.hashes.view_names import VIEWS

__all__ = ["Hashes", "Texts", "distinct", "entries", "joined", "taken_apart"]
#: Hexadecimal, one a spec.
Texts: TypeAlias = tuple[str, ...]
#: By name of the view, in the order of ``VIEWS``.
Hashes: TypeAlias = dict[str, Texts]


def joined(parts: Sequence[tuple[Hashes, Texts]]) -> Hashes:
    """The views of pictures (or frames) that belong together, one after another: where one has no such view as another
    has, its whole stands for it.

    Args:
        parts: the views and the whole of each.
    """
    if len(parts) == 1:
        return parts[0][0]
    names = [name for name in VIEWS if any(name in views for views, _ in parts)]
    each = {name: [views.get(name, whole) for views, whole in parts] for name in names}
    return {name: tuple(map("".join, zip(*texts, strict=True))) for name, texts in each.items()}


def distinct(views: Hashes, whole: Texts) -> Hashes:
    """The views that are neither the whole's nor those of a view before."""
    first: dict[Texts, str] = {whole: ""}
    for name, texts in views.items():
        first.setdefault(texts, name)
    return {name: texts for texts, name in first.items() if name}


def entries(parts: Sequence[tuple[Hashes, Texts]], digits: Sequence[int]) -> list[bytes]:
    """A row's entries, in the order of ``VIEWS``.

    Args:
        parts: of each of its pictures, the views and the whole.
        digits: of one picture's hash, one a spec.
    """
    if not parts:
        return []
    whole = tuple(map("".join, zip(*(texts for _, texts in parts), strict=True)))
    return [
        bytes([VIEWS.index(name)]) + b"".join(_code(text, size) for text, size in zip(texts, digits, strict=True))
        for name, texts in distinct(joined(parts), whole).items()
    ]


def _code(text: str, digits: int) -> bytes:
    """Hashes of some digits each, right-aligned in whole bytes."""
    if digits % 2:
        text = "".join("0" + text[start : start + digits] for start in range(0, len(text), digits))
    return bytes.fromhex(text)


def taken_apart(
    column: pa.Array, code_bytes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Of lists of m entries in all: (m,) the row of each, (m,) its view's number, (m, code bytes) its hashes."""
    flat = fixed_bytes(pc.list_flatten(column), 1 + code_bytes)
    return pc.list_parent_indices(column).to_numpy().astype(np.int64), flat[:, 0], flat[:, 1:]

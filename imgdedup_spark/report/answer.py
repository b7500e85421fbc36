"""What a command that measures writes: a page, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage


@dataclass(frozen=True)
class Answer:
    """Attributes:
    page, notes: files to write, HTML and JSON.
    """

    page: str
    notes: str

    def check(self, *, overwrite: bool) -> None:
        """Raises:
        UserError: a file would be replaced that is not to be.
        """
        for option, path in (("--html", self.page), ("--json", self.notes)):
            if not overwrite and storage.exists(path):
                raise UserError(f"{option} {path}: it is there already; name another file or add --overwrite")

    def write(self, page: str, notes: Mapping[str, Any]) -> None:
        storage.write_text(self.page, page)
        storage.write_text(self.notes, json.dumps(notes, indent=2, ensure_ascii=False, default=str) + "\n")

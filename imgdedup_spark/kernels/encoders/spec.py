"""Which encoder, and what every encoder offers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdedup_spark.errors import UserError


@dataclass(frozen=True)
class EncoderSpec:
    """Which model, and how it runs.

    Attributes:
        model: a Hugging Face id, a folder with such a model, or a path that ends in ``.onnx``; of a descriptor of
            copies a file, or a name of ``sscd.NAMED``.
        batch_size: pictures in one run of the model.
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
        of_copies: whether it is a descriptor of copies (``sscd``).
    """

    model: str
    batch_size: int = 32
    device: str = "auto"
    of_copies: bool = False

    @property
    def is_onnx(self) -> bool:
        return self.model.lower().endswith(".onnx")


@dataclass(frozen=True)
class Network:
    """A loaded model: one picture → its input, and a batch of inputs → (n, d) float32 features."""

    prepare: Callable[[Image.Image], Any]
    run: Callable[[list[Any]], NDArray[np.float32]]


def cpu_threads() -> int:
    """Threads for one model: ``OMP_NUM_THREADS``, else 1.

    Spark starts one Python worker for each task slot and sets ``OMP_NUM_THREADS`` to ``spark.task.cpus`` for them; a
    thread for each core in each worker would make them fight for the same cores.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(int(value), 1) if value.isdigit() else 1


def require(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise UserError(f"--model needs the Python package {module}: pip install 'imgdedup-spark[{extra}]'")

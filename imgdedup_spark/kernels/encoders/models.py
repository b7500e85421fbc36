"""Loads an image encoder once in each worker process, checks beforehand that it can be had, and tells it from others.

Two kinds of models: whatever vision tower ``transformers`` loads (a Hugging Face id or a local folder), and ONNX files
through ``onnxruntime`` (:mod:`~imgdedup_spark.kernels.encoders.onnx`); and descriptors of copies
(:mod:`~imgdedup_spark.kernels.encoders.sscd`). All are optional extras, imported when used.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.encoders import sscd
from imgdedup_spark.kernels.encoders.huggingface import check_weights, load_settings, load_transformers
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, Network, cpu_threads, require

__all__ = ["check_model", "identity", "load"]


@lru_cache(maxsize=1)
def load(spec: EncoderSpec) -> Network:
    """The model, loaded once a process.

    Raises:
        UserError: it cannot be had or is no image encoder.
    """
    if spec.of_copies:
        return sscd.load(spec)
    if spec.is_onnx:
        from imgdedup_spark.kernels.encoders import onnx

        require("onnxruntime", "onnx")
        return onnx.load(spec.model, spec.device, cpu_threads())
    return load_transformers(spec)


def check_model(spec: EncoderSpec) -> None:
    """Finds out, before any work, whether the model can be had. Loads a model's settings, not its weights.

    An ``.onnx`` file holds both and is opened as a whole.

    Raises:
        UserError: one line that says what to do.
    """
    if spec.batch_size < 1:
        raise UserError(f"--batch-size {spec.batch_size}: must be at least 1")
    if spec.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {spec.device}: must be auto, cpu or cuda")
    if spec.of_copies:
        sscd.check(spec)
        return
    if spec.is_onnx:
        from imgdedup_spark.kernels.encoders import onnx

        require("onnxruntime", "onnx")
        onnx.check(spec.model)
        return
    require("torch", "clip")
    require("transformers", "clip")
    load_settings(spec.model)
    check_weights(spec.model)


def identity(model: str) -> str:
    """What tells a model from others: a hub's id, or a digest of the files that make up a local one.

    The files and not their path, so that a model may be moved; every byte of them, because two trainings of a model
    have files of the same names and sizes.
    """
    path = Path(model)
    if path.is_dir():
        files = [one for one in path.iterdir() if one.suffix in (".json", ".safetensors", ".bin")]
    elif path.is_file():
        # Weights of more than 2 GB lie beside their graph, as `.data`, `.onnx.data` or `.onnx_data`; so may what says
        # how to prepare a picture, or a folder above.
        beside = [one for one in path.parent.iterdir() if one.name.startswith(path.stem) and "data" in one.suffix]
        folders = (path.parent, path.parent.parent)
        files = [path, *beside, *(one for folder in folders for one in folder.glob("preprocessor_config.json"))]
    else:
        return model
    files.sort(key=lambda one: one.name)
    return "files " + _digest(tuple((str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files))


@lru_cache(maxsize=8)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Args:
    files: path, size and modification time; read again only if one of these has changed.
    """
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{size} ".encode())
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:16]

"""Pictures → embeddings: loads an image encoder once in each worker process and runs it. Knows nothing of Spark.

Two kinds of models: whatever vision tower ``transformers`` loads (a Hugging Face id or a local folder), and ONNX files
through ``onnxruntime`` (:mod:`~imgdedup_spark.embeddings.onnx`). Both are optional extras, imported when used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.images import DEFAULT_MAX_PIXELS, Bytes, Picture, explained, quiet

__all__ = ["Embedder", "Embeddings", "Encoder", "EncoderSpec", "check_model", "identity"]

# Seconds to wait for the hub before saying that it cannot be reached.
_HUB_TIMEOUT = 10


@dataclass(frozen=True)
class EncoderSpec:
    """Which model, and how it runs.

    Attributes:
        model: a Hugging Face id, a folder with such a model, or a path that ends in ``.onnx``.
        batch_size: pictures in one run of the model.
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
    """

    model: str
    batch_size: int = 32
    device: str = "auto"

    @property
    def is_onnx(self) -> bool:
        return self.model.lower().endswith(".onnx")


@dataclass(frozen=True)
class Embeddings:
    """What became of n pictures.

    Attributes:
        vectors: (n, d) float32 of length 1; zeros for a picture that could not be read, or to which the model
            answers with zeros or with no numbers. (n, 0) if no picture could be read.
        width, height: (n,) int32 pixels of the upright pictures; 0 if unreadable.
        errors: the places of the unreadable ones.
    """

    vectors: NDArray[np.float32]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    errors: dict[int, ImageError] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A loaded model: one picture → its input, and a batch of inputs → (n, d) float32 features."""

    prepare: Callable[[Image.Image], Any]
    run: Callable[[list[Any]], NDArray[np.float32]]


class Encoder:
    """Turns pictures into embeddings. Pickles as its settings; each process loads the model once, when it needs it."""

    def __init__(self, spec: EncoderSpec, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.spec = spec
        self.max_pixels = max_pixels

    def encode(self, pictures: Sequence[Bytes]) -> Embeddings:
        """Decodes, prepares and encodes files in batches of the spec's size.

        Raises:
            UserError: the model cannot be loaded here (see :func:`check_model`).
        """
        network = load(self.spec)
        width, height = np.zeros(len(pictures), np.int32), np.zeros(len(pictures), np.int32)
        errors: dict[int, ImageError] = {}
        features: list[NDArray[np.float32]] = []
        places: list[int] = []
        waiting: list[Any] = []
        for place, data in enumerate(pictures):
            try:
                # Preparing is within it: some models' processors cannot do with a picture of one pixel.
                with quiet(), explained(data):
                    picture = Picture(data, self.max_pixels, fast=False)
                    # Only the small input waits for the batch: 32 decoded photographs would be a gigabyte.
                    prepared = network.prepare(picture.rgb())
                    width[place], height[place] = picture.size
            except ImageError as error:
                errors[place] = error
                continue
            waiting.append(prepared)
            places.append(place)
            if len(waiting) == self.spec.batch_size:
                features.append(network.run(waiting))
                waiting = []
        if waiting:
            features.append(network.run(waiting))
        if not features:
            return Embeddings(np.zeros((len(pictures), 0), np.float32), width, height, errors)
        found = normalised(np.concatenate(features))
        vectors = np.zeros((len(pictures), found.shape[1]), np.float32)
        vectors[places] = found
        return Embeddings(vectors, width, height, errors)


@dataclass(frozen=True)
class Vectors:
    """Embeddings as `Embedder` gives them; see ``hashes.Fingerprints``. One column of bytes takes the hashes' place."""

    hashes: list[list[bytes | None]]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    errors: dict[int, ImageError]


class Embedder:
    """An encoder in the place of a ``hashes.Hasher``: a picture's hash is the bytes of its vector."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def hash_batch(self, pictures: Sequence[Bytes]) -> Vectors:
        found = self.encoder.encode(pictures)
        errors = dict(found.errors)
        for place in np.flatnonzero(~found.vectors.any(axis=1)).tolist():
            if place not in errors:
                errors[place] = ImageError("bad_vector", "the model answers with zeros or with no numbers")
        vectors = [None if place in errors else one.tobytes() for place, one in enumerate(found.vectors)]
        return Vectors([vectors], found.width, found.height, errors)


def normalised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, d) float32 rows of length 1; rows without a direction (zeros, infinities, NaN) become zeros."""
    wide = vectors.astype(np.float64)
    usable = np.isfinite(wide).all(axis=1)
    wide[~usable] = 0.0
    # By a power of two, which rounds nothing, so that no square of a large or small number overflows.
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    wide = np.ldexp(wide, -np.frexp(largest)[1])
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(length > 0, length, 1.0)).astype(np.float32)


def cpu_threads() -> int:
    """Threads for one model: ``OMP_NUM_THREADS``, else 1.

    Spark starts one Python worker for each task slot and sets ``OMP_NUM_THREADS`` to ``spark.task.cpus`` for them; a
    thread for each core in each worker would make them fight for the same cores.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(int(value), 1) if value.isdigit() else 1


@lru_cache(maxsize=1)
def load(spec: EncoderSpec) -> Network:
    """The model, loaded once a process.

    Raises:
        UserError: it cannot be had or is no image encoder.
    """
    if spec.is_onnx:
        from imgdedup_spark.embeddings import onnx

        _require("onnxruntime", "onnx")
        return Network(*onnx.load(spec.model, spec.device, cpu_threads()))
    return _load_transformers(spec)


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
    if spec.is_onnx:
        from imgdedup_spark.embeddings import onnx

        _require("onnxruntime", "onnx")
        onnx.check(spec.model)
        return
    _require("torch", "clip")
    _require("transformers", "clip")
    _load_settings(spec.model)
    _check_weights(spec.model)


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


def _require(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise UserError(f"--model needs the Python package {module}: pip install 'imgdedup-spark[{extra}]'")


def _load_settings(model: str) -> Any:
    """The model's image processor; its configuration is read on the way.

    Raises:
        UserError: neither a folder nor the cache nor the hub has them, or they describe no image model.
    """
    from transformers import AutoConfig, AutoImageProcessor

    if model.startswith(("/", "./", "../", "~")) and not Path(model).is_dir():
        raise UserError(f"--model {model}: no such folder")
    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise UserError(f"--model {model}: the folder has no config.json; give a folder that save_pretrained wrote")
    _pretrained(AutoConfig, model)
    try:
        return _pretrained(AutoImageProcessor, model)
    except UserError as error:
        raise UserError(f"{error} (the image processor; is it an image model?)") from error


def _pretrained(loader: Any, model: str) -> Any:
    """``loader.from_pretrained`` from a folder or the local cache, and only if they lack it from the hub.

    Raises:
        UserError: the model cannot be had or loaded.
    """
    with _quiet():
        try:
            try:
                return loader.from_pretrained(model, local_files_only=True)
            except OSError:
                if Path(model).is_dir():
                    raise
            _ask_hub(model)
            return loader.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(f"--model {model}: {' '.join(str(error).split())[:300]}") from error


def _ask_hub(model: str) -> None:
    """Asks the hub once, with a time limit; the loaders would ask for each file again and again.

    Raises:
        UserError: it has no such model, or does not answer.
    """
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        huggingface_hub.HfApi().model_info(model, timeout=_HUB_TIMEOUT)
    except HFValidationError as error:
        raise UserError(f"--model {model}: neither a folder, nor an .onnx file, nor a Hugging Face id") from error
    except GatedRepoError as error:
        raise UserError(f"--model {model}: the hub wants an accepted licence and a login (hf auth login)") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"--model {model}: the Hugging Face hub has no such model") from error
    except Exception as error:  # the network's own errors differ from one version of the hub's client to the next
        raise UserError(
            f"--model {model}: not in the local cache, and the Hugging Face hub cannot be reached; where it "
            f"can be, run `hf download {model} --local-dir DIR` (or huggingface-cli), and give DIR as --model"
        ) from error


def _check_weights(model: str) -> None:
    """Sees to it that the weights are in the folder or the cache, or that the hub answers. Does not read them.

    Raises:
        UserError: none of them.
    """
    names = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
    if Path(model).is_dir():
        if not any((Path(model) / name).is_file() for name in names):
            raise UserError(f"--model {model}: the folder has no weights ({names[0]})")
        return
    import huggingface_hub

    if not any(isinstance(huggingface_hub.try_to_load_from_cache(model, name), str) for name in names):
        _ask_hub(model)


def _load_transformers(spec: EncoderSpec) -> Network:
    _require("torch", "clip")
    _require("transformers", "clip")
    import torch
    from transformers import AutoModel

    torch.set_num_threads(cpu_threads())
    device = spec.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device on this worker; use auto or cpu")
    processor = _load_settings(spec.model)
    model = _pretrained(AutoModel, spec.model).eval().to(device)
    # CLIP and its kin have a text tower as well; this method is the way to the image tower and its projection.
    forward = getattr(model, "get_image_features", model)

    def prepare(picture: Image.Image) -> dict[str, Any]:
        return dict(processor(images=[picture], return_tensors="pt"))

    def run(inputs: list[dict[str, Any]]) -> NDArray[np.float32]:
        batch = {name: torch.cat([one[name] for one in inputs]).to(device) for name in inputs[0]}
        with torch.inference_mode():
            return _pooled(forward(**batch)).float().cpu().numpy()

    return Network(prepare, run)


def _pooled(output: Any) -> Any:
    """(n, d) features of whatever a vision tower returns.

    A tensor as it is (``get_image_features`` of transformers 4); else the first of ``image_embeds`` (after the
    projection) and ``pooler_output`` (transformers 5, and models such as DINOv2) that is there; else the mean of
    ``last_hidden_state`` over tokens (3-D) or places (4-D, channels first).
    """
    for name in ("image_embeds", "pooler_output", "last_hidden_state"):
        found = getattr(output, name, None)
        if found is not None:
            output = found
            break
    if output.ndim == 4:  # also a pooler_output of convolutional models: (n, d, 1, 1)
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps progress bars and advice of ``transformers`` off the screen while a model is loaded."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

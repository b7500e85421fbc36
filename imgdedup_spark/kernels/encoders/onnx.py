"""ONNX image encoders through ``onnxruntime``: what the graph and the files beside it say about input and output."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdedup_spark.errors import UserError, one_line
from imgdedup_spark.kernels.encoders.spec import Network

__all__ = ["Preprocessing", "check", "load"]
# Where neither graph nor settings say otherwise: the input size and statistics of ImageNet models.
_DEFAULT_SIZE = 224
_DEFAULT_MEAN = (0.485, 0.456, 0.406)
_DEFAULT_STD = (0.229, 0.224, 0.225)
# Whole numbers are the pixels themselves: such a graph begins with the rest.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_SETTINGS = "preprocessor_config.json"


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input: (x * rescale - mean) / std for x in 0..255.

    Attributes:
        height, width: of the input, in pixels.
        channels_first: NCHW, else NHWC.
        crop: resize the shorter side to ``shortest`` and cut out the middle, as CLIP does; else the whole picture is
            resized to the input, whatever its proportions.
        resample: Pillow's number of the resampling filter.
    """

    height: int
    width: int
    channels_first: bool = True
    rescale: float = 1 / 255
    mean: tuple[float, ...] = _DEFAULT_MEAN
    std: tuple[float, ...] = _DEFAULT_STD
    crop: bool = False
    shortest: int = 0
    resample: int = int(Image.Resampling.BICUBIC)

    def __call__(self, picture: Image.Image) -> NDArray[np.float32]:
        """(3, height, width) or (height, width, 3) float32 from an RGB picture."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        x: NDArray[np.float32] = np.asarray(self._resized(picture), np.float32)
        x = (x * np.float32(self.rescale) - mean) / std
        return np.ascontiguousarray(x.transpose(2, 0, 1)) if self.channels_first else x

    def _resized(self, picture: Image.Image) -> Image.Image:
        resample = Image.Resampling(self.resample)
        if not self.crop:
            return picture.resize((self.width, self.height), resample)
        scale = max(self.shortest / min(picture.size), self.width / picture.width, self.height / picture.height)
        # The part of the picture that the input shows, so that the rest is never resized.
        shown = (self.width / scale, self.height / scale)
        left, top = (picture.width - shown[0]) / 2, (picture.height - shown[1]) / 2
        box = (max(left, 0), max(top, 0), min(left + shown[0], picture.width), min(top + shown[1], picture.height))
        return picture.resize((self.width, self.height), resample, box=box)


_USUAL = Preprocessing(_DEFAULT_SIZE, _DEFAULT_SIZE)


def check(path: str, usual: Preprocessing | None = None) -> None:
    """Opens the model, as :func:`load` would.

    Raises:
        UserError: no such file, or not an image encoder.
    """
    load(path, "cpu", 1, usual)


def load(path: str, device: str, threads: int, usual: Preprocessing | None = None) -> Network:
    """The model, ready to run.

    Args:
        usual: what holds where neither the graph nor settings beside it say otherwise.

    Raises:
        UserError: no such file, or not an image encoder.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise UserError(f"--model {path}: no such file (it must be readable at this path on every worker)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    available = onnxruntime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    if device == "cpu":
        providers = ["CPUExecutionProvider"]
    elif device == "cuda" and "CUDAExecutionProvider" not in available:
        raise UserError("--device cuda: this onnxruntime has no CUDA; install onnxruntime-gpu, or use auto or cpu")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime raises many kinds, which share no base but Exception
        raise UserError(f"--model {path}: not a readable ONNX model: {one_line(error)[:200]}") from error
    entrance = _input(session, path)
    preprocessing = _preprocessing(entrance.shape, _settings(session, path), path, usual or _USUAL)
    if entrance.type == "tensor(uint8)":
        preprocessing = replace(preprocessing, rescale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    output = _output(session)
    dtype = _TYPES[entrance.type]
    fixed = entrance.shape[0] if isinstance(entrance.shape[0], int) else None

    def run(inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        batch = np.stack(inputs).astype(dtype, copy=False)
        if fixed is None:
            return _pooled(session.run([output], {entrance.name: batch})[0], preprocessing.channels_first)
        # A graph for exactly `fixed` pictures: the last ones are filled up with zeros.
        parts = []
        for start in range(0, len(batch), fixed):
            part = batch[start : start + fixed]
            full = np.concatenate([part, np.zeros((fixed - len(part), *part.shape[1:]), dtype)])
            found = session.run([output], {entrance.name: full})[0]
            parts.append(_pooled(found, preprocessing.channels_first)[: len(part)])
        return np.concatenate(parts)

    return Network(preprocessing, run)


def _input(session: Any, path: str) -> Any:
    """The one input of four dimensions, three of them channels."""
    inputs = session.get_inputs()
    pictures = [one for one in inputs if len(one.shape) == 4 and 3 in (one.shape[1], one.shape[3])]
    if not pictures:
        # Exporters may leave the channels open as well.
        pictures = [one for one in inputs if len(one.shape) == 4 and isinstance(one.shape[1], str)]
    if len(pictures) != 1 or len(inputs) != 1:
        found = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise UserError(
            f"--model {path}: needs exactly one input, pictures of N x 3 x height x width or N x height x width x 3; "
            f"found {found} (export the image tower alone)"
        )
    if pictures[0].type not in _TYPES:
        raise UserError(f"--model {path}: its input is {pictures[0].type}; float, float16 or uint8 is needed")
    return pictures[0]


def _output(session: Any) -> str:
    """The output that is one vector a picture, by name and then by shape."""
    outputs = session.get_outputs()
    named = {one.name: one for one in outputs}
    for name in ("image_embeds", "pooler_output"):
        if name in named:
            return str(name)
    flat = [one for one in outputs if len(one.shape) == 2]
    return str((flat or outputs)[0].name)


def _pooled(output: Any, channels_first: bool) -> NDArray[np.float32]:
    """(n, d) float32: the mean over tokens (n, tokens, d) or places (n, d, h, w) or, channels last, (n, h, w, d)."""
    if output.ndim == 4:
        output = output.mean(axis=(2, 3) if channels_first else (1, 2), dtype=np.float32)
    elif output.ndim == 3:
        output = output.mean(axis=1, dtype=np.float32)
    return np.asarray(output, np.float32).reshape(len(output), -1)


def _settings(session: Any, path: str) -> dict[str, Any]:
    """The graph's own ``metadata_props``, else ``preprocessor_config.json`` in the folder of the file or above it.

    Above it, because exporters put ``onnx/model.onnx`` into a model's folder. Both use Hugging Face's names.
    """
    known = {"image_mean", "image_std", "rescale_factor", "size", "crop_size", "do_center_crop", "resample"}
    known |= {"do_rescale", "do_normalize"}
    properties = session.get_modelmeta().custom_metadata_map
    found: dict[str, Any] = {}
    try:
        for name, value in properties.items():
            if name in known:
                found[name] = json.loads(value)
    except ValueError as error:
        raise UserError(f"--model {path}: its metadata {name} is not JSON: {value[:100]}") from error
    if found:
        return found
    for folder in (Path(path).parent, Path(path).parent.parent):
        if (folder / _SETTINGS).is_file():
            try:
                settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"--model {path}: {folder / _SETTINGS} is not JSON") from error
            if isinstance(settings, dict):
                return settings
    return {}


def _preprocessing(shape: list[Any], settings: dict[str, Any], path: str, usual: Preprocessing) -> Preprocessing:
    channels_first = shape[3] != 3 or shape[1] == 3
    height, width = (shape[2], shape[3]) if channels_first else (shape[1], shape[2])
    crop = bool(settings.get("do_center_crop", False))
    size = settings.get("size")
    try:
        wanted = _size((settings.get("crop_size") if crop else None) or size, usual)
        height = height if isinstance(height, int) else wanted[0]
        width = width if isinstance(width, int) else wanted[1]
        rescale = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
        mean: tuple[float, ...] = _DEFAULT_MEAN
        std: tuple[float, ...] = _DEFAULT_STD
        if not settings.get("do_normalize", True):
            mean, std = (0.0,) * 3, (1.0,) * 3
        elif "image_mean" in settings or "image_std" in settings:
            mean = _three(settings["image_mean"])
            std = _three(settings["image_std"])
        return Preprocessing(
            height,
            width,
            channels_first,
            rescale,
            mean,
            std,
            crop,
            min(_size(size, usual)) if crop else 0,
            int(settings.get("resample", usual.resample)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"--model {path}: its preprocessing settings cannot be understood: {error!r}") from error


def _size(value: Any, usual: Preprocessing) -> tuple[int, int]:
    """Height and width of the ways in which Hugging Face's settings state them."""
    if value is None:
        return usual.height, usual.width
    if isinstance(value, dict):
        if "shortest_edge" in value:
            return int(value["shortest_edge"]), int(value["shortest_edge"])
        return int(value["height"]), int(value["width"])
    return int(value), int(value)


def _three(value: Any) -> tuple[float, ...]:
    """One number for each channel."""
    numbers = tuple(float(x) for x in value) if isinstance(value, list) else (float(value),) * 3
    if len(numbers) != 3:
        raise ValueError(f"{value} is not three numbers")
    return numbers

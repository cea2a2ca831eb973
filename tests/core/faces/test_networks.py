"""What ONNX files are, packs of them, and running them: the same faces as insightface's own package finds."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from insightface.app import FaceAnalysis
from onnx import helper

from comfyui_ip_adapter.ip_adapter_core.faces.insightface import InsightFace
from comfyui_ip_adapter.ip_adapter_core.faces.insightface_packs import MANIFEST, pack
from comfyui_ip_adapter.ip_adapter_core.faces.networks import FaceNetworks, Recogniser, kind_of
from comfyui_ip_adapter.ip_adapter_core.faces.onnx_io import read_signature
from fabricate import faces
from fabricate.faces import Graph, Square, picture
from package import SUPPORT

WITHOUT = """
import sys
for name in ("onnxruntime", "insightface", "onnx", "cv2"):
    sys.modules[name] = None
import comfyui_ip_adapter.ip_adapter_core.faces.insightface_packs as packs
import comfyui_ip_adapter.ip_adapter_core.faces.networks as networks
import comfyui_ip_adapter.ip_adapter_core.faces.insightface as insightface
from pathlib import Path
folder = Path(sys.argv[1])
assert packs.pack(folder).complaint() is None
for begin in (lambda: networks.Detector(folder / "det.onnx"), lambda: insightface.InsightFace(folder)):
    try:
        begin()
    except ModuleNotFoundError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faces.pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="module")
def networks(folder: Path) -> FaceNetworks:
    return FaceNetworks(folder / "det.onnx", folder / "rec.onnx")


def levels(*squares: Square, height: int = 480, width: int = 640) -> torch.Tensor:
    return (picture(height, width, *squares)[0] * 255).round().to(torch.uint8)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


# What a file is


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (faces.recogniser(), "face recognition"),
        (faces.recogniser(batch=1), "face recognition"),
        (faces.recogniser(side="side"), "face recognition"),
        (faces.detector(), "face detection"),
        (faces.detector(canvas=(640, 640)), "face detection"),
        (faces.detector(points=False), "face detection without points"),
        (faces.landmarks(), None),
        (faces.recogniser(side=128), None),
        (faces.recogniser(batch=7), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_is_known_by_its_inputs_and_outputs(model: onnx.ModelProto, kind: str | None, tmp_path: Path) -> None:
    found = kind_of(saved(tmp_path / "any name.onnx", model))
    assert (found and found.name) == kind


def test_a_signature_is_what_onnx_says(folder: Path) -> None:
    found = read_signature(folder / "det.onnx")
    assert found.inputs == ((1, 3, None, None),)
    assert found.outputs == ((None, 1),) * 3 + ((None, 4),) * 3 + ((None, 10),) * 3
    assert found.first[:3] == ("Conv", "Relu", "Conv")


def test_weights_that_a_file_also_lists_as_inputs_are_none(tmp_path: Path) -> None:
    model = faces.recogniser()
    weights = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(weights.name, weights.data_type, weights.dims))
    assert read_signature(saved(tmp_path / "old.onnx", model)).inputs == ((None, 3, 112, 112),)


def test_outputs_without_a_shape_are_unknown(tmp_path: Path) -> None:
    model = faces.recogniser()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert read_signature(saved(tmp_path / "old.onnx", model)).outputs == (None,)
    assert kind_of(tmp_path / "old.onnx") is None


def test_damaged_files_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "rec.onnx").read_bytes()
    damaged = tmp_path / "damaged.onnx"
    texts = [b"", b"<!DOCTYPE html><html>not found</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"]
    for content in (*texts, whole[: len(whole) // 2], whole[:-1], b"\xff" * 100, bytes(50)):
        damaged.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^Download damaged\.onnx again; it is no ONNX file, or only a part of one"
        ):
            read_signature(damaged)


def test_any_damage_is_a_value_error_or_goes_unnoticed(folder: Path, tmp_path: Path) -> None:
    whole = bytearray((folder / "2d106det.onnx").read_bytes())
    generator = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            changed[place] = generator.integers(0, 256)
        (tmp_path / "changed.onnx").write_bytes(changed)
        with suppress(ValueError):
            kind_of(tmp_path / "changed.onnx")


def test_what_onnxruntime_refuses_is_named(tmp_path: Path) -> None:
    model = faces.recogniser()
    model.graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(ValueError, match=r"^Download odd\.onnx again; onnxruntime cannot load it: .*NoSuchOperation"):
        Recogniser(saved(tmp_path / "odd.onnx", model))


# Packs


def test_a_pack_tells_its_networks_from_the_rest(folder: Path) -> None:
    found = pack(folder)
    assert found.complaint() is None
    assert found.describe() == "det.onnx (face detection), rec.onnx (face recognition), 1 more"


def test_an_incomplete_pack_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "det.onnx").write_bytes((folder / "det.onnx").read_bytes())
    (tmp_path / "rec.onnx").write_text("cut")
    complaint = pack(tmp_path).complaint()
    assert complaint is not None
    assert f"{tmp_path.name} has no network for face recognition. It has det.onnx (face detection), " in complaint
    assert "Download rec.onnx again; it is no ONNX file" in complaint


def test_a_detector_without_points_is_not_enough(tmp_path: Path) -> None:
    saved(tmp_path / "det.onnx", faces.detector(points=False))
    saved(tmp_path / "rec.onnx", faces.recogniser())
    complaint = pack(tmp_path).complaint()
    assert complaint is not None
    assert "no network for face detection. It has det.onnx (face detection without points)" in complaint


def test_a_pack_with_rules_of_its_own_is_left_to_insightface(folder: Path, tmp_path: Path) -> None:
    other = faces.pack(tmp_path / "other")
    (other / MANIFEST).write_text("{}")
    complaint = pack(other).complaint()
    assert complaint is not None
    assert "Install the insightface package, or choose another model" in complaint


def test_a_folder_of_other_networks_is_no_pack(tmp_path: Path) -> None:
    saved(tmp_path / "landmarks.onnx", faces.landmarks())
    assert not pack(tmp_path).of_faces


# Running them


def test_embeddings_of_a_batch_are_those_of_each_face(folder: Path, tmp_path: Path) -> None:
    crops = torch.rand(19, 112, 112, 3, generator=torch.Generator().manual_seed(0))
    together = Recogniser(folder / "rec.onnx")(crops)
    assert together.shape == (19, 512)
    assert together.dtype == torch.float32
    single = Recogniser(saved(tmp_path / "single.onnx", faces.recogniser(batch=1)))
    for other in (torch.cat([Recogniser(folder / "rec.onnx")(crop[None]) for crop in crops]), single(crops)):
        assert torch.allclose(together, other, atol=1e-4)


def test_the_recogniser_reads_rgb_from_minus_one_to_one(folder: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(192, 512)) * 20 / np.sqrt(192 * 512)
    for colour in ([1.0, 0.0, 0.0], [0.25, 0.5, 1.0]):
        wanted = (np.repeat(colour, 64) * 2 - 1) @ weights
        found = Recogniser(folder / "rec.onnx")(torch.tensor(colour).expand(1, 112, 112, 3))
        assert np.allclose(found[0].numpy(), wanted, atol=1e-4)


def test_a_network_that_begins_with_the_arithmetic_itself_gets_levels(folder: Path, tmp_path: Path) -> None:
    model = faces.recogniser()
    graph = Graph()
    scaled = graph("Mul", graph("Sub", "input", graph.constant(127.5)), graph.constant(1 / 127.5), result="scaled")
    model.graph.node[0].input[0] = scaled
    for node in reversed(graph.nodes):
        node.name = f"first {node.name}"
        model.graph.node.insert(0, node)
    for name, value in graph.weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, f"first {name}"))
    for node in model.graph.node[:2]:
        node.input[1] = f"first {node.input[1]}"
    crops = torch.rand(2, 112, 112, 3)
    found = Recogniser(saved(tmp_path / "mxnet.onnx", model))(crops)
    assert torch.allclose(found, Recogniser(folder / "rec.onnx")(crops), atol=1e-3)


def test_a_network_in_half_precision_runs(folder: Path, tmp_path: Path) -> None:
    model = faces.recogniser()
    half = onnx.TensorProto.FLOAT16
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = half
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, model.graph.initializer[0].name))
    crops = torch.rand(2, 112, 112, 3)
    found = Recogniser(saved(tmp_path / "half.onnx", model))(crops)
    assert found.dtype == torch.float32
    assert torch.cosine_similarity(found, Recogniser(folder / "rec.onnx")(crops)).min() > 0.999


PICTURES = {
    "one": ((480, 640), [Square(200, 150, 60)]),
    "three": ((480, 640), [Square(40, 60, 40), Square(400, 40, 50), Square(300, 200, 190)]),
    "large": ((900, 700), [Square(100, 120, 500)]),
    "photograph": ((1500, 2000), [Square(900, 400, 220)]),
}


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")  # of scikit-image, on insightface
@pytest.mark.parametrize("name", PICTURES)
def test_insightface_finds_the_same_faces_in_the_same_pack(name: str, folder: Path, networks: FaceNetworks) -> None:
    (height, width), squares = PICTURES[name]
    seen = levels(*squares, height=height, width=width)
    theirs = InsightFace(folder)
    found, wanted = networks.detect(seen).left_to_right(), theirs.detect(seen).left_to_right()
    assert len(found.scores) == len(wanted.scores) == len(squares)
    assert (found.boxes - wanted.boxes).abs().max() < 0.1
    assert (found.points - wanted.points).abs().max() < 0.1
    one, other = networks.embed(seen, found), theirs.embed(seen, wanted)
    assert (one - other).abs().max() < 0.02 * other.abs().max()
    assert torch.cosine_similarity(one, other).min() > 0.9999


def test_the_same_face_elsewhere_and_larger_is_the_same_and_another_is_not(networks: FaceNetworks) -> None:
    near, far = (levels(square) for square in (Square(100, 100, 200), Square(420, 310, 100)))
    another = (picture(480, 640, Square(100, 100, 200), seed=1)[0] * 255).round().to(torch.uint8)
    one, same, other = (networks.embed(seen, networks.detect(seen)) for seen in (near, far, another))
    assert torch.cosine_similarity(one, same) > 0.998
    assert torch.cosine_similarity(one, other) < 0.98


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")  # of scikit-image, on insightface
def test_a_face_analysis_that_somebody_else_has_loaded_is_a_reader(folder: Path) -> None:
    loaded = FaceAnalysis(name=str(folder), allowed_modules=["detection", "recognition"])
    seen = levels(Square(200, 150, 60))
    pairs = [(reader.detect(seen), reader) for reader in (InsightFace(folder), InsightFace.around(loaded))]
    (found, theirs), (same, around) = pairs
    assert torch.equal(found.boxes, same.boxes)
    assert torch.equal(theirs.embed(seen, found), around.embed(seen, same))


@pytest.mark.parametrize("what", [object(), "buffalo_l", SimpleNamespace(models={"detection": None})])
def test_what_is_no_reader_of_faces_is_refused_in_a_sentence(what: Any) -> None:
    with pytest.raises(ValueError, match="Connect a loader of faces"):
        InsightFace.around(what)


def test_insightface_cannot_use_half_a_pack(folder: Path, tmp_path: Path) -> None:
    for kept, says in (("det.onnx", "finds no face recognition in"), ("rec.onnx", "insightface cannot use")):
        half = tmp_path / kept
        half.mkdir()
        (half / kept).write_bytes((folder / kept).read_bytes())
        with pytest.raises(ValueError, match=says):
            InsightFace(half)


def test_without_onnxruntime_everything_imports_and_the_error_says_what_to_install(folder: Path) -> None:
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(SUPPORT)!r}); import package\n{WITHOUT}",
    ]
    ended = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    ours, theirs = ended.stdout.splitlines()
    assert "Run `pip install onnxruntime` with the Python of ComfyUI" in ours
    assert "Run `pip install insightface onnxruntime`" in theirs

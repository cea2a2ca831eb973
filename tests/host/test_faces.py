"""The face nodes in ComfyUI: which packs they offer, which faces they take, what they say of pictures without one."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from insightface.app.common import Face as InsightFaces
from safetensors.torch import save_file

from fabricate import faces as fabricated
from fabricate.adapters import KINDS, tiny_adapter
from fabricate.faces import Square, picture
from package import ROOT

pytestmark = [
    pytest.mark.usefixtures("comfy", "inference_mode"),
    pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning"),  # of scikit-image, on insightface
]
LEFT, MIDDLE, RIGHT = Square(20, 30, 50), Square(230, 40, 70), Square(480, 20, 60)
TWO, ONE, NONE, THREE = (LEFT, RIGHT), (MIDDLE,), (), (LEFT, MIDDLE, RIGHT)
HEIGHT, WIDTH = 200, 640


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricated.pack(tmp_path_factory.mktemp("fabricated") / "tiny")


@pytest.fixture
def models(comfy: None, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's folder of models, in which there is one pack, and a preview that needs no graph."""
    import folder_paths
    from comfy_api.latest import ui

    from comfyui_ip_adapter.nodes.host import face_embeds, faces

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    for host in (faces, face_embeds):
        monkeypatch.delitem(folder_paths.folder_names_and_paths, host.CATEGORY, raising=False)
        host.register()
        paths, extensions = folder_paths.folder_names_and_paths[host.CATEGORY]
        assert str(tmp_path / host.CATEGORY) in paths
        monkeypatch.setitem(folder_paths.folder_names_and_paths, host.CATEGORY, (paths, extensions))
    copy(pack, tmp_path / "insightface" / "models" / "tiny")
    monkeypatch.setattr(ui.ImageSaveHelper, "save_images", lambda images, **options: [len(images)])
    return tmp_path


def copy(pack: Path, folder: Path, *left_out: str) -> Path:
    folder.mkdir(parents=True)
    for file in pack.iterdir():
        if file.name not in left_out:
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def pictures(*each: tuple[Square, ...]) -> torch.Tensor:
    return torch.cat([picture(HEIGHT, WIDTH, *squares, seed=3) for squares in each])


def run(
    images: torch.Tensor, faces: str = "largest", index: int = 0, backend: str = "auto", model: str = "tiny"
) -> Any:
    """What the node gives: faces, crops, and what it shows."""
    from comfyui_ip_adapter.nodes.face import Face

    output = Face.execute(image=images, model=model, faces=faces, index=index, backend=backend)
    found, crops = output.args
    return found, crops, output.ui


def centres(found: Any) -> list[float]:
    """Where the faces are, by their nose."""
    return [float(portrait.points[2, 0]) for portrait in found.portraits]


def at(*squares: Square) -> Any:
    return pytest.approx([square.points[2, 0] for square in squares], abs=1)


# Which faces


def test_the_largest_face_of_each_picture_is_taken(models: Path) -> None:
    found, crops, _ = run(pictures(TWO, THREE))
    assert centres(found) == at(RIGHT, MIDDLE)
    assert found.embeddings.shape == (2, 512)
    assert found.raw.norm(dim=-1).min() > 2
    assert crops.shape == (2, 224, 224, 3)
    assert torch.equal(crops, found.crops(224))


def test_all_faces_are_taken_from_left_to_right(models: Path) -> None:
    found, crops, _ = run(pictures(THREE, ONE), "all")
    assert centres(found) == at(LEFT, MIDDLE, RIGHT, MIDDLE)
    assert len(crops) == len(found) == 4


@pytest.mark.parametrize(("index", "face"), list(enumerate(THREE)))
def test_a_face_is_taken_by_its_number_from_the_left(models: Path, index: int, face: Square) -> None:
    assert centres(run(pictures(THREE), "by index", index)[0]) == at(face)


def test_a_taken_face_is_the_same_alone_and_among_others(models: Path) -> None:
    chosen, everyone = (run(pictures(THREE), *how)[0] for how in (("by index", 1), ("all", 0)))
    assert torch.allclose(chosen.embeddings[0], everyone.embeddings[1], atol=1e-4)


# Pictures without


def test_a_picture_without_a_face_is_left_out_and_named(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found, crops, shown = run(pictures(ONE, NONE, TWO))
    assert centres(found) == at(MIDDLE, RIGHT)
    assert shown["text"] == ("Faces: 2\nPicture 2 of 3: no face was found.",)
    assert shown["images"] == [len(crops)]
    assert "Picture 2 of 3: no face was found. Its place stays empty." in caplog.text


def test_a_picture_with_too_few_faces_is_left_out_and_named(models: Path) -> None:
    found, _, shown = run(pictures(THREE, TWO), "by index", 2)
    assert centres(found) == at(RIGHT)
    assert "Picture 2 of 2: no face with index 2, the last is 1." in shown["text"][0]


def test_no_face_at_all_is_an_error_that_says_what_to_do(models: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^Connect a picture with a face .*Picture 1 of 2: no face was found\. Picture 2 of 2: "
    ):
        run(pictures(NONE, NONE))
    with pytest.raises(ValueError, match=r"Picture 1 of 1: no face with index 1, the last is 0"):
        run(pictures(ONE), "by index", 1)


def encoded(folder: Path, faces: Any, **more: Any) -> Any:
    """The prompt of Encode Face Prompt, by a small FaceID adapter."""
    from comfyui_ip_adapter.nodes.encode import EncodeFace
    from comfyui_ip_adapter.nodes.host import adapters

    adapter = adapters.read("face", tiny_adapter(folder / "face.safetensors", **KINDS["FaceID"]))
    return EncodeFace.execute(ip_adapter=adapter, faces=faces, shortcut=1.0, **more).args[0]


def test_a_frame_without_a_face_keeps_its_place_and_nothing_acts_in_it(models: Path) -> None:
    """Frame 2 reads the face of picture 3, not frame 1."""
    gap, whole = run(pictures((), ONE, (), THREE, ()))[0], run(pictures(ONE, ONE, ONE, THREE, THREE))[0]
    assert (len(gap), gap.gaps, gap.face_indices) == (2, (0, 2, 4), (0, 0, 0, 1, 1))
    (found,), (full,) = (encoded(models, faces, combine="one per frame").parts for faces in (gap, whole))
    assert found.weights == (0.0, 1.0, 0.0, 1.0, 0.0)
    assert found.frames == full.frames == 5
    for frame in (1, 3):
        assert torch.allclose(found.side(0)[frame], full.side(0)[frame], atol=1e-5)


@pytest.mark.parametrize("how", ["concat", "separate", "average", "norm average", "add", "subtract", "max", "min"])
def test_a_picture_without_a_face_is_as_one_that_is_not_there(models: Path, how: str) -> None:
    gap, without = run(pictures(ONE, (), THREE))[0], run(pictures(ONE, THREE))[0]
    found, expected = encoded(models, gap, combine=how), encoded(models, without, combine=how)
    assert [part.weights for part in found.parts] == [part.weights for part in expected.parts]
    for ours, theirs in zip(found.parts, expected.parts, strict=True):
        assert torch.allclose(ours.tokens, theirs.tokens, atol=1e-5)


def test_weights_and_masks_are_of_pictures_whether_they_have_a_face_or_not(models: Path) -> None:
    gap = run(pictures(ONE, (), THREE))[0]
    masks = torch.stack([torch.full((4, 4), shade) for shade in (0.25, 0.5, 0.75)])
    first, last = encoded(models, gap, combine="separate", weights="0.5, 1, 2", masks=masks).parts
    assert (first.weights, last.weights) == ((0.5,), (2.0,))
    assert (first.masks[0].unique(), last.masks[0].unique()) == (torch.tensor(0.25), torch.tensor(0.75))
    with pytest.raises(ValueError, match="Give weights for each face, or none at all; faces: 3, weights: 2"):
        encoded(models, gap, weights="1, 2")


def test_finding_faces_can_be_interrupted(models: Path) -> None:
    import comfy.model_management as memory

    memory.interrupt_current_processing()
    with pytest.raises(memory.InterruptProcessingException):
        run(pictures(ONE))
    assert len(run(pictures(ONE))[0]) == 1


# Backends


def test_both_backends_give_the_same_faces(models: Path) -> None:
    ours, theirs = (run(pictures(THREE, TWO), "all", backend=backend)[0] for backend in ("onnxruntime", "insightface"))
    assert centres(ours) == pytest.approx(centres(theirs), abs=0.1)
    assert torch.cosine_similarity(ours.embeddings, theirs.embeddings).min() > 0.9999
    assert (ours.crops(224) - theirs.crops(224)).abs().mean() < 1e-3


def test_auto_takes_insightface_only_for_what_onnxruntime_cannot_use(models: Path, pack: Path) -> None:
    from comfyui_ip_adapter.ip_adapter_core.faces.insightface import InsightFace
    from comfyui_ip_adapter.ip_adapter_core.faces.networks import FaceNetworks
    from comfyui_ip_adapter.nodes.host import faces

    declared = copy(pack, models / "insightface" / "declared")
    (declared / "manifest.json").write_text('{"manifest_version": 1}')
    assert isinstance(faces.load("tiny"), FaceNetworks)
    assert isinstance(faces.load("declared"), InsightFace)
    assert faces.complaint("declared", "auto") is None
    assert "Install the insightface package" in str(faces.complaint("declared", "onnxruntime"))


@pytest.mark.parametrize(
    ("backend", "missing", "says"),
    [
        ("auto", ("onnxruntime", "insightface"), "Run `pip install onnxruntime` with the Python of ComfyUI"),
        ("onnxruntime", ("onnxruntime",), "Run `pip install onnxruntime` with the Python of ComfyUI"),
        (
            "insightface",
            ("insightface",),
            "Run `pip install insightface onnxruntime` with the Python of ComfyUI",
        ),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    models: Path, monkeypatch: pytest.MonkeyPatch, backend: str, missing: tuple[str, ...], says: str
) -> None:
    from comfyui_ip_adapter.nodes.host import faces

    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert says in str(faces.complaint("tiny", backend))
    with pytest.raises(ValueError, match=says):
        run(pictures(ONE), backend=backend)


def test_a_reader_is_taken_as_it_is_and_what_insightface_loads_is_made_one(models: Path) -> None:
    from comfyui_ip_adapter.ip_adapter_core.faces.insightface import InsightFace
    from comfyui_ip_adapter.nodes.host import faces

    ours = faces.load("tiny")
    assert faces.reader_of(ours) is ours
    theirs = faces.reader_of(SimpleNamespace(models={"detection": None, "recognition": None}))
    assert isinstance(theirs, InsightFace)


def test_a_pack_is_one_reader_while_anyone_holds_it(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import faces

    reader = faces.load("tiny")
    assert faces.load("tiny", "onnxruntime") is reader
    assert faces.load("tiny", "insightface") is not reader
    fabricated.pack(models / "insightface" / "models" / "tiny", seed=1)
    assert faces.load("tiny") is not reader


# Packs on disk


def options(node: Any, name: str) -> list[str]:
    (combo,) = (given for given in node.define_schema().inputs if given.id == name)
    return list(combo.options)


def test_packs_lie_where_insightface_keeps_them_and_beside(models: Path, pack: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    for name in ("beside", "models/nested/nested"):
        copy(pack, models / "insightface" / name)
    copy(pack, models / "insightface" / "models" / "a half", "det.onnx")
    copy(pack, models / "insightface" / "others", "det.onnx", "rec.onnx")
    assert options(Face, "model") == ["beside", "nested/nested", "tiny", "a half"]
    assert centres(run(pictures(ONE), model="nested/nested")[0]) == at(MIDDLE)


def test_a_file_of_a_pack_means_the_pack_that_is_here(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host.old_names import Match, face_file

    assert face_file("tiny/det.onnx") == Match("tiny")
    assert face_file("auraface/glintr100.onnx") == Match("tiny")  # reads faces for the same adapters
    for name in ("tiny", "unheard/of.onnx", "glintr100.onnx", "auraface/readme.md"):
        assert face_file(name) is None
    for file in (models / "insightface" / "models" / "tiny").iterdir():
        file.unlink()
    assert face_file("auraface/glintr100.onnx") is None


def test_the_demos_pack_stands_for_no_other(models: Path) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.face import Face
    from comfyui_ip_adapter.nodes.host.old_names import Match, face_file, face_model

    folder_paths.folder_names_and_paths["insightface"][0].append(str(ROOT / "models" / "small_world" / "insightface"))
    assert options(Face, "model") == ["tiny", "small_world"]
    assert face_model("buffalo_l").name == "tiny"
    for file in (models / "insightface" / "models" / "tiny").iterdir():
        file.unlink()
    assert options(Face, "model") == ["none found", "small_world"]
    assert face_model("buffalo_l") == Match("buffalo_l")
    assert face_file("auraface/glintr100.onnx") is None
    assert face_model("small_world") == Match("small_world")


def test_of_two_packs_with_one_name_insightfaces_own_place_counts(models: Path, pack: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    copy(pack, models / "insightface" / "tiny", "det.onnx")
    assert options(Face, "model") == ["tiny"]
    assert centres(run(pictures(ONE))[0]) == at(MIDDLE)


def test_the_menu_says_what_is_in_each_pack(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    (model,) = (given for given in Face.define_schema().inputs if given.id == "model")
    assert "tiny: det.onnx (face detection), rec.onnx (face recognition), 1 more" in model.tooltip


def test_half_a_pack_is_refused_before_the_graph_runs(
    models: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    monkeypatch.setitem(sys.modules, "insightface", None)
    copy(pack, models / "insightface" / "half", "rec.onnx")
    assert Face.validate_inputs("tiny") is True
    assert Face.validate_inputs(None) is True
    assert str(Face.validate_inputs("half")).startswith(
        "Choose another model; half has no network for face recognition. It has"
    )


def test_without_a_pack_the_node_says_where_to_put_which(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    for file in (models / "insightface" / "models" / "tiny").iterdir():
        file.unlink()
    assert options(Face, "model") == ["none found"]
    complaint = str(Face.validate_inputs("none found"))
    assert complaint.startswith("Put the .onnx files of AuraFace (https://huggingface.co/fal/AuraFace-v1, Apache-2.0)")
    for word in ("AuraFace (https://huggingface.co/fal/AuraFace-v1, Apache-2.0)", "buffalo_l", "antelopev2"):
        assert word in complaint
    assert "non-commercial" in complaint
    assert "such as models/insightface/auraface; no face model was found. " in complaint
    assert f"Looked in {models / 'insightface'} and " in complaint


def test_an_exchanged_file_makes_the_node_run_again(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face

    before = Face.fingerprint_inputs("tiny", faces="all")
    assert Face.fingerprint_inputs("tiny", faces="all") == before
    fabricated.pack(models / "insightface" / "models" / "tiny", seed=1)
    assert Face.fingerprint_inputs("tiny", faces="all") != before


def test_registering_keeps_the_files_that_other_packs_list(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.host import faces

    for theirs, wanted in ((set(), set()), ({".pth"}, {".pth", ".onnx"})):
        monkeypatch.setitem(folder_paths.folder_names_and_paths, "insightface", (["elsewhere"], theirs))
        faces.register()
        paths, extensions = folder_paths.folder_names_and_paths["insightface"]
        assert set(extensions) == wanted
        assert paths[0] == "elsewhere"


# Ready-made embeddings

EMBEDDING = np.random.default_rng(0).normal(size=512).astype(np.float32)


def ready(file: str = "none", **given: Any) -> Any:
    from comfyui_ip_adapter.nodes.face import FaceEmbeds

    (found,) = FaceEmbeds.execute(file=file, **given).args
    return found


def test_an_embedding_of_another_node_is_taken_as_it_is(models: Path) -> None:
    found = ready(embedding=[InsightFaces(embedding=EMBEDDING)])
    assert torch.equal(found.raw, torch.from_numpy(EMBEDDING)[None])
    assert found.crops(224) is None


def test_files_are_offered_from_both_folders_and_read(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import FaceEmbeds

    (models / "face_embeds").mkdir()
    (models / "reactor" / "faces").mkdir(parents=True)
    np.save(models / "face_embeds" / "me.npy", EMBEDDING)
    (models / "face_embeds" / "me.png").write_text("no face")
    save_file({"embedding": torch.from_numpy(EMBEDDING) + 1}, models / "reactor" / "faces" / "saved.safetensors")
    assert options(FaceEmbeds, "file") == ["none", "me.npy", "saved.safetensors"]
    assert FaceEmbeds.validate_inputs("me.npy") is True
    assert torch.equal(ready("me.npy").embeddings[0], torch.from_numpy(EMBEDDING))
    both = ready("saved.safetensors", embedding=EMBEDDING)
    assert torch.equal(both.embeddings, torch.from_numpy(np.stack([EMBEDDING + 1, EMBEDDING])))


def test_ready_crops_go_with_their_embeddings(models: Path) -> None:
    crops = torch.rand(2, 112, 112, 3, generator=torch.Generator().manual_seed(0))
    found = ready(embedding=np.stack([EMBEDDING, -EMBEDDING]), image=crops)
    assert (found.crops(112) - crops).abs().max() < 0.51 / 255
    with pytest.raises(ValueError, match=r"Connect one picture for each face, or none; faces: 1, pictures: 2"):
        ready(embedding=EMBEDDING, image=crops)


def test_what_is_no_embedding_is_refused(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import FaceEmbeds

    with pytest.raises(ValueError, match="Choose a file of face embeddings, or connect an embedding"):
        ready()
    with pytest.raises(ValueError, match=r"of shape \(…, 512\); found 1x16x2048"):
        ready(embedding=torch.zeros(1, 16, 2048))
    (models / "face_embeds").mkdir()
    np.save(models / "face_embeds" / "narrow.npy", EMBEDDING[:128])
    assert "narrow.npy gives no face embeddings" in str(FaceEmbeds.validate_inputs("narrow.npy"))
    assert "put gone.npy into models/face_embeds; it is not there" in str(FaceEmbeds.validate_inputs("gone.npy"))


def test_every_input_has_a_tooltip(models: Path) -> None:
    from comfyui_ip_adapter.nodes.face import Face, FaceEmbeds

    for node in (Face, FaceEmbeds):
        assert all(len(slot.tooltip) > 15 for slot in (*node.define_schema().inputs, *node.define_schema().outputs))

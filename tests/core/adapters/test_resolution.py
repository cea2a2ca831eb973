"""Where tensors do not tell an adapter's kind: the user's word, then the hash, the name, the default, each in words."""

from pathlib import Path

import pytest

from comfyui_ip_adapter.ip_adapter_core.adapters import resolution
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import identify, identify_file, load
from comfyui_ip_adapter.ip_adapter_core.adapters.resolution import CHOICES, PUBLISHED, Evidence, digest
from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from fabricate.adapters import KINDS, tiny_adapter
from published_shapes import FILES, entries

V1, V2 = "FaceID-Plus v1", "FaceID-Plus v2"
AMBIGUOUS = entries("ip-adapter-faceid-plusv2_sd15")


def decided(known: Evidence) -> tuple[str, str]:
    """The kind of a file with FaceID-Plus's tensors, and the rule that told it."""
    identity = identify(AMBIGUOUS, known)
    return identity.variant.name, identity.rule


def never() -> str:
    raise AssertionError("the file was hashed")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ip-adapter-faceid-plusv2_sd15.bin", V2),
        ("faceid-plus-v2.safetensors", V2),
        ("FaceID_Plus_V2_sd15.safetensors", V2),
        ("FaceIDPlusV2.bin", V2),
        ("face plus v2.bin", V2),
        ("ip-adapter-faceid-plus_sd15.bin", V1),
        ("IP-Adapter FaceID Plus.safetensors", V1),
    ],
)
def test_the_name_tells_the_version(name: str, kind: str) -> None:
    assert decided(Evidence(name=name)) == (kind, "its name")


@pytest.mark.parametrize("name", ["", "my face.safetensors", "faceid_v2.bin", "ip-adapter-faceid_sd15.bin"])
def test_version_2_is_the_default_and_says_so(name: str) -> None:
    assert decided(Evidence(name=name)) == (V2, f"default, as {V2} and {V1} have the same tensors")


@pytest.mark.parametrize("kind", [V1, V2])
def test_the_users_word_comes_first(kind: str) -> None:
    known = Evidence(kind, "ip-adapter-faceid-plusv2_sd15.bin", never)
    assert decided(known) == (kind, "your choice")


@pytest.mark.parametrize(("published", "kind"), [("faceid-plusv2.bin", V2), ("faceid-plus.bin", V1)])
def test_the_hash_comes_before_the_name(monkeypatch: pytest.MonkeyPatch, published: str, kind: str) -> None:
    monkeypatch.setitem(PUBLISHED, "cafe", published)
    for name in ("plusv2.bin", "plus.bin", "renamed.bin"):
        assert decided(Evidence(name=name, digest=lambda: "cafe")) == (kind, "its sha256")


def test_a_hash_of_a_file_with_other_tensors_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, "cafe", "ip-adapter_sd15.safetensors")
    assert decided(Evidence(name="plus.bin", digest=lambda: "cafe")) == (V1, "its name")


@pytest.mark.parametrize("file", [file for file, row in FILES.items() if not file.startswith("ip-adapter-faceid-plus")])
def test_files_whose_tensors_tell_are_not_hashed(file: str) -> None:
    assert identify(entries(file), Evidence(name="plus.bin", digest=never)).rule == "its tensors"


@pytest.mark.parametrize("name", ["faceid-plus_sdxl.bin", "ip-adapter-faceid-plusv2_sdxl.bin", "x.bin"])
def test_for_sdxl_there_is_no_version_1(name: str) -> None:
    named = entries("ip-adapter-faceid-plusv2_sdxl")
    identity = identify(named, Evidence(name=name, digest=never))
    assert (identity.variant.name, identity.rule) == (V2, "its tensors")
    with pytest.raises(UnsupportedCheckpoint, match=f"Set variant to auto; this adapter is of kind {V2}, not {V1}"):
        identify(named, Evidence(V1))


@pytest.mark.parametrize("file", ["ip-adapter_sd15", "ip-adapter-faceid_sd15", "ipa-faceid-plus (Kolors)"])
def test_a_choice_that_tensors_contradict_is_refused(file: str) -> None:
    with pytest.raises(
        UnsupportedCheckpoint, match=f"Set variant to auto; this adapter is of kind {FILES[file].variant}, not {V1}"
    ):
        identify(entries(file), Evidence(V1))


def test_the_choices_are_those_that_tensors_leave_open() -> None:
    assert CHOICES == ("auto", V2, V1)


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """A file whose tensors and name tell nothing."""
    return tiny_adapter(tmp_path / "renamed.safetensors", **KINDS[V2])


def test_a_file_is_known_by_its_hash_whatever_it_is_called(renamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identify_file(renamed).variant.name == V2
    monkeypatch.setitem(PUBLISHED, digest(renamed), "ip-adapter-faceid-plus_sd15.bin")
    for identity in (identify_file(renamed), load(renamed).identity()):
        assert (identity.variant.name, identity.rule) == (V1, "its sha256")
    assert load(renamed, choice=V2).identity().rule == "your choice"


def test_a_file_that_tensors_tell_is_never_read_for_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "digest", lambda path: never())
    for kind in KINDS.keys() - {V2}:
        path = tiny_adapter(tmp_path / "plus.safetensors", **KINDS[kind])
        assert load(path).identity().variant.name == kind


def test_a_line_for_people_says_what_decided() -> None:
    def line(known: Evidence) -> str:
        return identify(AMBIGUOUS, known).describe()

    assert line(Evidence(name="plus.bin")).startswith("FaceID-Plus v1 (told by its name), SD1.5 (16 layers")
    assert line(Evidence(V1)).startswith("FaceID-Plus v1 (told by your choice), SD1.5")
    assert line(Evidence()).startswith(f"{V2} (told by default, as {V2} and {V1} have the same tensors), SD1.5")
    assert identify(entries("ip-adapter-faceid_sd15")).describe() == (
        "FaceID, SD1.5 (16 layers, context 768), 4 tokens, reads face embeddings, brings its LoRA"
    )


def test_every_published_hash_is_one() -> None:
    assert all(len(key) == 64 and int(key, 16) for key in PUBLISHED)
    assert len(set(PUBLISHED.values())) == len(PUBLISHED) == 18

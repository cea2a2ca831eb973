"""The nodes that keep image prompts in files: what they list, what comes back, what is refused before a graph runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fabricate.adapters import KINDS, tiny_adapter
from fabricate.towers import TINY, tiny_tower
from payload import Payload
from same_prompt import GATHERINGS, assert_same, read, told

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")
OF_TOWER = {
    "tower's plus": {"kind": "plus", "embed": TINY.width, "tokens": 16},
    "tower's XLabs": {"embed": TINY.embed_dim, "bias": True},
}


@pytest.fixture
def folders(comfy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ComfyUI's models/ and input/, both without prompts."""
    import folder_paths

    from comfyui_ip_adapter.nodes.host import prompt_files

    (tmp_path / "input").mkdir()
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.delitem(folder_paths.folder_names_and_paths, prompt_files.CATEGORY, raising=False)
    folder_paths.filename_list_cache.pop(prompt_files.CATEGORY, None)  # of other folders
    prompt_files.register()
    entry = folder_paths.folder_names_and_paths[prompt_files.CATEGORY]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, prompt_files.CATEGORY, entry)
    return tmp_path


def loaded(folders: Path, kind: str = "base", name: str = "a.safetensors", seed: int = 0) -> Any:
    """An adapter of a kind, as a loader gives it."""
    from comfyui_ip_adapter.nodes.host import adapters

    options = {**OF_TOWER, **KINDS}[kind]
    return adapters.read(name, tiny_adapter(folders / f"{kind} {seed}.safetensors", **options, seed=seed))


def prompt_of(adapter: Any, how: str = "alike") -> Any:
    negative = read(adapter.identity, 2, seed=1)
    return adapter.prompt(read(adapter.identity), negative, GATHERINGS[how], told(adapter.identity))


def save(prompt: Any, prefix: str = "prompt", **more: str) -> tuple[Any, str]:
    """What Save Image Prompt hands on, and what it shows."""
    from comfyui_ip_adapter.nodes.prompt_files import SavePrompt

    output = SavePrompt.execute(image_prompt=prompt, filename_prefix=prefix, **more)
    return output.args[0], output.ui.as_dict()["text"][0]


def load(adapter: Any, file: str, **more: Any) -> tuple[Any, str]:
    """The prompt of Load Image Prompt, and what it shows."""
    from comfyui_ip_adapter.nodes.prompt_files import LoadPrompt

    output = LoadPrompt.execute(ip_adapter=adapter, file=file, **more)
    return output.args[0], output.ui.as_dict()["text"][0]


def complaint(file: str | None) -> Any:
    from comfyui_ip_adapter.nodes.prompt_files import LoadPrompt

    return LoadPrompt.validate_inputs(file)


def menu(name: str) -> list[str]:
    from comfyui_ip_adapter.nodes.prompt_files import LoadPrompt

    (combo,) = (given for given in LoadPrompt.define_schema().inputs if given.id == name)
    return list(combo.options)


def put(folders: Path, name: str, held: Any) -> Path:
    """An .ipadpt file below the folders."""
    (folders / name).parent.mkdir(parents=True, exist_ok=True)
    torch.save(held, folders / name)
    return folders / name


def tower(folders: Path) -> Any:
    from comfyui_ip_adapter.ip_adapter_core.vision import encoder as core
    from comfyui_ip_adapter.nodes.host.vision import OpenClipVision

    tiny_tower(folders / "tower.safetensors")
    return OpenClipVision(core.load(folders / "tower.safetensors"), torch.device("cpu"))


# Prompts that were saved


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["weighted", "masked", "one per frame"])
def test_what_is_loaded_is_what_was_saved(folders: Path, kind: str, how: str) -> None:
    adapter = loaded(folders, kind)
    prompt = prompt_of(adapter, how)
    handed_on, name = save(prompt, "mine/cat")
    assert handed_on is prompt
    assert name == "mine/cat_00001.safetensors"
    assert complaint(name) is True
    assert_same(load(adapter, name)[0], prompt)


def test_long_animations_come_back_bit_for_bit(folders: Path) -> None:
    from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering

    adapter = loaded(folders)
    prompt = adapter.prompt(read(adapter.identity, 37), read(adapter.identity, 3, seed=1), Gathering("one per frame"))
    assert_same(load(adapter, save(prompt)[1])[0], prompt)


def test_tokens_wait_where_comfyui_keeps_intermediate_results(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as memory

    adapter = loaded(folders)
    _, name = save(prompt_of(adapter))
    monkeypatch.setattr(memory, "intermediate_device", lambda: torch.device("meta"))
    (part,) = load(adapter, name)[0].parts
    assert part.tokens.device == part.keys_values[0].keys.device == torch.device("meta")


def test_the_loader_shows_what_the_file_says(folders: Path) -> None:
    adapter = loaded(folders, "plus", "plus.safetensors")
    _, name = save(prompt_of(adapter), note="the red cat")
    said = "plus for a model of its own kind, 3 images, made with plus.safetensors\nthe red cat"
    assert load(adapter, name)[1] == f"{name}: {said}"


def test_a_saved_prompt_is_in_the_menu_and_never_overwritten(folders: Path) -> None:
    prompt = prompt_of(loaded(folders))
    assert menu("file") == []
    names = [save(prompt)[1] for _ in range(2)]
    assert menu("file") == names == ["prompt_00001.safetensors", "prompt_00002.safetensors"]
    assert menu("negative") == ["none"]
    assert (folders / "models" / "image_prompts" / names[0]).is_file()


@pytest.mark.parametrize("prefix", ["", "../cat", "in/", "/cat"])
def test_a_prefix_that_leads_out_of_the_folder_is_refused(folders: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="is no name there"):
        save(prompt_of(loaded(folders)), prefix)
    assert not list(folders.rglob("*cat*"))


def test_another_adapter_is_refused_naming_both(folders: Path) -> None:
    _, name = save(prompt_of(loaded(folders, name="mine.safetensors")))
    with pytest.raises(
        ValueError,
        match=rf"^Connect the adapter that {name} was made with, .* mine\.safetensors .* is yours\.safetensors",
    ):
        load(loaded(folders, name="yours.safetensors", seed=1), name)


def test_an_exchanged_file_makes_the_node_run_again(folders: Path) -> None:
    from comfyui_ip_adapter.nodes.prompt_files import LoadPrompt

    adapter = loaded(folders)
    _, name = save(prompt_of(adapter))
    put(folders, "input/e.ipadpt", torch.zeros(1, 32))

    def stamps() -> list[object]:
        files = ((name, "none"), ("e.ipadpt [input]", "none"), (name, "e.ipadpt [input]"))
        return [LoadPrompt.fingerprint_inputs(file=file, negative=negative) for file, negative in files]

    before = stamps()
    assert stamps() == before
    put(folders, "input/e.ipadpt", torch.zeros(2, 32))
    after = stamps()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]
    (folders / "models" / "image_prompts" / save(prompt_of(adapter, "masked"))[1]).rename(
        folders / "models" / "image_prompts" / name
    )
    assert [one == other for one, other in zip(stamps(), after, strict=True)] == [False, True, False]
    assert LoadPrompt.fingerprint_inputs(file=None) == LoadPrompt.fingerprint_inputs(file=None)
    assert LoadPrompt.fingerprint_inputs(file="gone.ipadpt [input]")


def test_a_file_that_cannot_be_used_is_named_before_the_graph_runs(folders: Path) -> None:
    adapter = loaded(folders)
    _, name = save(prompt_of(adapter))
    prompts = folders / "models" / "image_prompts"
    (prompts / "short.safetensors").write_bytes((prompts / name).read_bytes()[:-100])
    tiny_adapter(prompts / "adapter.safetensors")
    assert "Download short.safetensors again; it is damaged" in complaint("short.safetensors")
    assert "adapter.safetensors is no image prompt" in complaint("adapter.safetensors")
    assert "put gone.safetensors into models/image_prompts; it is not there" in complaint("gone.safetensors")
    assert "gone.ipadpt is not in" in complaint("gone.ipadpt [input]")
    assert complaint(None) is True


# Files of embeds


def test_files_of_embeds_are_offered_from_both_folders(folders: Path) -> None:
    _, name = save(prompt_of(loaded(folders)))
    put(folders, "models/image_prompts/b.ipadpt", torch.zeros(1, 32))
    put(folders, "input/a.ipadpt", torch.zeros(1, 32))
    put(folders, "input/deeper/c.ipadpt", torch.zeros(1, 32))
    put(folders, "input/d.safetensors", torch.zeros(1, 32))
    (folders / "models" / "image_prompts" / "cat.png").write_text("no prompt")
    embeds = ["a.ipadpt [input]", "deeper/c.ipadpt [input]"]
    assert menu("file") == ["b.ipadpt", name, *embeds]
    assert menu("negative") == ["none", "b.ipadpt", *embeds]
    assert all(complaint(file) is True for file in menu("file"))


@pytest.mark.parametrize("name", ["../e.ipadpt [input]", "../input/../e.ipadpt [input]", "/e.ipadpt [input]"])
def test_a_name_that_leads_out_of_the_input_folder_is_not_found(folders: Path, name: str) -> None:
    put(folders, "e.ipadpt", torch.zeros(1, 32))
    assert "is not in" in complaint(name)
    with pytest.raises(ValueError, match="is not in"):
        load(loaded(folders), name)
    full = f"{folders}/e.ipadpt [input]"
    assert "is not in" in complaint(full)


@pytest.mark.parametrize("kind", ["base", "plus", "full face"])
@pytest.mark.parametrize("images", [1, 3])
def test_embeds_give_the_prompt_of_the_same_features_against_zeros(folders: Path, kind: str, images: int) -> None:
    adapter = loaded(folders, kind)
    (given,) = read(adapter.identity, images)
    put(folders, "input/e.ipadpt", given)
    prompt, shown = load(adapter, "e.ipadpt [input]")
    assert_same(prompt, adapter.prompt((given,), (torch.zeros_like(given[:1]),)))
    assert shown.startswith("e.ipadpt [input]: embeds of IPAdapter Plus, ")
    assert shown.endswith(f" ({images} image{'s' * (images > 1)})")


def test_with_an_encoder_the_other_side_is_its_blank_image(folders: Path) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    adapter, encoder = loaded(folders, "tower's plus"), tower(folders)
    hidden = vision.features(encoder, torch.rand(2, 70, 90, 3)).hidden
    assert hidden is not None
    put(folders, "input/e.ipadpt", hidden)
    prompt, _ = load(adapter, "e.ipadpt [input]", clip_vision=encoder)
    blank = vision.blank_features(encoder).hidden
    assert_same(prompt, adapter.prompt((hidden,), (blank,)))
    assert not torch.equal(prompt.parts[0].tokens, load(adapter, "e.ipadpt [input]")[0].parts[0].tokens)


def test_of_a_kind_that_was_trained_against_black_it_is_a_black_picture(folders: Path) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    encoder = tower(folders)
    given, black = (vision.features(encoder, level * torch.rand(1, 9, 9, 3)).embeds for level in (1.0, 0.0))
    assert given is not None
    adapter = loaded(folders, "tower's XLabs")
    put(folders, "input/e.ipadpt", given)
    prompt, _ = load(adapter, "e.ipadpt [input]", clip_vision=encoder)
    assert_same(prompt, adapter.prompt((given,), (black,)))


def test_kinds_that_were_trained_against_zeros_ask_no_encoder(folders: Path) -> None:
    adapter = loaded(folders)
    put(folders, "input/e.ipadpt", torch.ones(1, 32))
    prompt, _ = load(adapter, "e.ipadpt [input]", clip_vision=object())
    assert_same(prompt, load(adapter, "e.ipadpt [input]")[0])


def test_a_second_file_is_the_other_side(folders: Path) -> None:
    adapter = loaded(folders, "plus")
    given, negative = read(adapter.identity), read(adapter.identity, 2, seed=1)
    put(folders, "input/e.ipadpt", *given)
    put(folders, "models/image_prompts/n.ipadpt", *negative)
    prompt, _ = load(adapter, "e.ipadpt [input]", negative="n.ipadpt", clip_vision=object())
    assert_same(prompt, adapter.prompt(given, negative))
    with pytest.raises(ValueError, match="3 negative images for 2 images"):
        load(adapter, "n.ipadpt", negative="e.ipadpt [input]")


def test_an_encoder_or_a_file_of_another_resolution_is_refused(folders: Path) -> None:
    adapter, encoder = loaded(folders, "tower's plus"), tower(folders)
    put(folders, "input/e.ipadpt", torch.randn(1, 5, TINY.width))
    put(folders, "input/n.ipadpt", torch.randn(1, TINY.tokens, TINY.width))
    says = f"gives {TINY.tokens} hidden states of an image, and the chosen file has 5"
    with pytest.raises(ValueError, match=f"the connected CLIP vision encoder {says}"):
        load(adapter, "e.ipadpt [input]", clip_vision=encoder)
    with pytest.raises(ValueError, match=rf"n\.ipadpt \[input\] {says}"):
        load(adapter, "e.ipadpt [input]", negative="n.ipadpt [input]")


def test_an_encoder_of_another_kind_is_refused(folders: Path) -> None:
    adapter = loaded(folders, "Kolors plus")
    put(folders, "input/e.ipadpt", *read(adapter.identity, 1))
    with pytest.raises(ValueError, match=r"the connected CLIP vision encoder: .* width 1024, and that gives 64"):
        load(adapter, "e.ipadpt [input]", clip_vision=tower(folders))


def test_adapters_that_read_faces_refuse_embeds(folders: Path) -> None:
    put(folders, "input/e.ipadpt", torch.zeros(1, 32))
    with pytest.raises(
        ValueError, match=r"this FaceID adapter reads faces, which files of embeds such as e\.ipadpt do"
    ):
        load(loaded(folders, "FaceID"), "e.ipadpt [input]")


def test_only_embeds_have_and_are_negatives(folders: Path) -> None:
    adapter = loaded(folders)
    _, name = save(prompt_of(adapter))
    put(folders, "input/e.ipadpt", torch.zeros(1, 32))
    refused = {
        (name, "e.ipadpt [input]"): f"Set negative to none; {name} has a negative side of its own",
        ("e.ipadpt [input]", name): r"Set negative to one of none, e\.ipadpt \[input\]; found '.*_00001.safetensors'",
    }
    for (file, negative), says in refused.items():
        with pytest.raises(ValueError, match=says):
            load(adapter, file, negative=negative)


def test_code_in_a_file_is_refused_before_the_graph_runs_and_not_run(folders: Path) -> None:
    put(folders, "input/good.ipadpt", torch.zeros(1, 32))
    put(folders, "input/evil.ipadpt", [Payload(folders / "executed")])
    evil, good = "evil.ipadpt [input]", "good.ipadpt [input]"
    assert evil in menu("file")
    assert "evil.ipadpt is a pickle that wants to run code" in complaint(evil)
    for given in ({"file": evil}, {"file": good, "negative": evil}):
        with pytest.raises(ValueError, match="wants to run code"):
            load(loaded(folders), **given)
    assert not (folders / "executed").exists()


# Their place in ComfyUI


def test_registering_keeps_what_the_user_has_registered(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.host import prompt_files

    monkeypatch.setitem(folder_paths.folder_names_and_paths, prompt_files.CATEGORY, (["elsewhere"], {".pt"}))
    prompt_files.register()
    paths, extensions = folder_paths.folder_names_and_paths[prompt_files.CATEGORY]
    assert paths == ["elsewhere", str(folders / "models" / "image_prompts")]
    assert extensions == {".pt", ".safetensors", ".ipadpt"}


def test_every_slot_has_a_tooltip(folders: Path) -> None:
    from comfyui_ip_adapter.nodes.prompt_files import LoadPrompt, SavePrompt

    for node in (SavePrompt, LoadPrompt):
        assert all(len(slot.tooltip) > 15 for slot in (*node.define_schema().inputs, *node.define_schema().outputs))

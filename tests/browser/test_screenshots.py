"""The pictures of the README, the templates and the help pages, from the real editor (only with SCREENSHOTS=1)."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from browser.editor import PAGE, Box, Editor
from live.cards import NEEDED, card, of_editor
from live.pictures import FACE, MASKED
from live.server import Server
from live.small_world_graphs import with_twin
from live.thumbnails import Saved
from live.ui_graphs import TWIN, named, originals, place, read, to_prompt, twins, workflows
from package import ROOT

IMAGES, HELP = ROOT / "docs" / "images", ROOT / "web" / "docs" / "images"
RUN = {"width": 256, "height": 256, "megapixels": 0.0625, "steps": 8}
NOISE = """() => {
    for (const node of app.graph.nodes)
        if (['SaveImage', 'PreviewImage', 'SaveAnimatedWEBP'].includes(node.type)) {
            node.imgs = node.images = undefined;
            delete app.nodeOutputs[node.id];
        }
}"""  # what the random weights of the tests make is left out
SHOWN = {"width": 512, "height": 512, "megapixels": 0.25, "steps": 30, "seed": 42}
CHAIN, ONE_NODE = "text_to_image_with_image_prompt", "image_prompt_in_one_node"
CONTROLS = [  # a graph, and the node that its help page shows
    ("style_and_composition", "IPA_StyleComposition"),
    ("layer_weights", "IPA_LayerWeights"),
    ("weight_schedule", "IPA_Schedule"),
    ("interpolation", "IPA_Combine"),
    ("regions", "IPA_Region"),
    ("regions", "IPA_ApplyRegions"),
    ("noise_as_negative", "IPA_Noise"),
    ("prepared_reference", "IPA_Prepare"),
    ("animation", "IPA_Transition"),
    ("save_prompt", "IPA_SavePrompt"),
]
LARGEST_CARD = 80_000  # bytes of a template's picture
LARGEST = 200_000  # bytes of a help picture
AFTER = 6000  # milliseconds until the notice of success is gone
MASK = """file => {
    for (const node of app.graph.nodes)
        if (node.type == 'LoadImage' && node.outputs[1].links?.length) node.widgets[0].value = file;
}"""
FACES = """file => {
    if (app.graph.nodes.some(node => node.type == 'IPA_Face'))
        for (const node of app.graph.nodes) if (node.type == 'LoadImage') node.widgets[0].value = file;
}"""
INSTRUCTION = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const encode = find('IPA_Encode'), told = LiteGraph.createNode('IPA_Instruction');
    app.graph.add(told);
    told.pos = [encode.pos[0] - 420, encode.pos[1] + 420];
    told.widgets.find(widget => widget.name == 'prompt').value = 'a lighthouse at night';
    find('CheckpointLoaderSimple').connect(1, told, 0);
    told.connect(0, encode, encode.inputs.findIndex(input => input.name == 'instruction'));
}"""
READY = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const [pos, size] = [[...find('IPA_Face').pos], [310, 130]];
    for (const type of ['IPA_Face', 'IPA_SmallWorldPortrait']) app.graph.remove(find(type));
    const ready = LiteGraph.createNode('IPA_FaceEmbeds');
    app.graph.add(ready);
    [ready.pos, ready.size] = [pos, size];
    ready.connect(0, find('IPA_EncodeFace'), 1);
}"""
INSTANT_ID = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const add = (type, x, y) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = [find('IPA_Face').pos[0] + x, find('IPA_Face').pos[1] + y];
        return node;
    };
    const slot = (node, name) => node.inputs.findIndex(input => input.name == name);
    const [points, shown] = [add('IPA_FaceKeyPoints', 0, 700), add('PreviewImage', 900, 700)];
    const [control, loader] = [add('IPA_InstantIDControl', 400, 700), add('ControlNetLoader', 0, 1200)];
    find('IPA_Face').connect(0, points, 0);
    points.connect(0, shown, 0);
    points.connect(0, control, slot(control, 'key_points'));
    loader.connect(0, control, slot(control, 'control_net'));
    find('IPA_EncodeFace').connect(0, control, slot(control, 'image_prompt'));
}"""
KEPT = """async file => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const [pos, size] = [[...find('IPA_SavePrompt').pos], [350, 130]];
    const gone = ['IPA_SavePrompt', 'IPA_Encode', 'IPA_SmallWorld', 'IPA_LoadVision'];
    gone.forEach(type => app.graph.remove(find(type)));
    await app.refreshComboInNodes();
    const kept = LiteGraph.createNode('IPA_LoadPrompt');
    app.graph.add(kept);
    [kept.pos, kept.size] = [pos, size];
    kept.widgets.find(widget => widget.name == 'file').value = file;
    find('IPA_LoadAdapter').connect(0, kept, 0);
    kept.connect(0, find('IPA_Apply'), 1);
}"""
ROWS = """sizes => {
    let [left, top, tallest] = [0, 0, 0];
    for (const node of app.graph.nodes) {
        const [width, height] = sizes[node.type];
        if (left + width > 2600) [left, top, tallest] = [0, top + tallest + 80, 0];
        node.pos = [left, top];
        [left, tallest] = [left + width + 40, Math.max(tallest, height)];
    }
}"""
MARGIN = 16  # around a node's picture; above it are its title and the name of its pack
ABOVE = 40
AUTO = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const [pos, size] = [[...find('IPA_LoadAdapter').pos], [310, 82]];
    for (const type of ['IPA_LoadAdapter', 'IPA_LoadVision']) app.graph.remove(find(type));
    const auto = LiteGraph.createNode('IPA_AutoLoad');
    app.graph.add(auto);
    [auto.pos, auto.size] = [[pos[0], pos[1] + 60], size];
    find('CheckpointLoaderSimple').pos = [pos[0] - 350, pos[1] + 60];
    find('CheckpointLoaderSimple').connect(0, auto, 0);
    [0, 1].forEach(slot => auto.connect(slot, find('IPA_Encode'), slot));
}"""

TRAINING = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    for (const node of [...app.graph.nodes])
        if (!['CheckpointLoaderSimple', 'IPA_LoadVision'].includes(node.type)) app.graph.remove(node);
    const add = (type, pos, size) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        [node.pos, node.size] = [pos, [Math.max(size[0], node.size[0]), Math.max(size[1], node.size[1])]];
        return node;
    };
    const train = add('IPA_Train', [400, 0], [350, 300]);
    const save = add('IPA_SaveAdapter', [820, 0], [310, 110]), curve = add('PreviewImage', [820, 220], [310, 250]);
    [0, 1, 2].forEach(slot => find('CheckpointLoaderSimple').connect(slot, train, slot));
    find('IPA_LoadVision').connect(0, train, 3);
    train.connect(0, save, 0); train.connect(1, curve, 0);
    train.widgets.find(widget => widget.name == 'dataset').value = 'pictures';
}"""

BOARD = """() => {
    const all = type => app.graph.nodes.filter(node => node.type == type), find = type => all(type)[0];
    const references = all('IPA_SmallWorld');
    const [left, top] = find('IPA_Encode').pos;
    for (const type of ['IPA_Encode', 'IPA_Apply', 'BatchImagesNode', 'ImageBatch', 'MarkdownNote'])
        for (const node of all(type)) app.graph.remove(node);
    const add = (type, x, y) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = [left + x, top + y];
        return node;
    };
    const set = (node, name, value) => (node.widgets.find(widget => widget.name == name).value = value);
    const slot = (node, name) => node.inputs.findIndex(input => input.name == name);
    const board = add('IPA_Moodboard', 480, 0);
    find('CheckpointLoaderSimple').connect(0, board, slot(board, 'model'));
    find('IPA_LoadAdapter').connect(0, board, slot(board, 'ip_adapter'));
    find('IPA_LoadVision').connect(0, board, slot(board, 'clip_vision'));
    const uses = [['style', 0.8], ['composition', 1]];
    references.forEach((reference, number) => {
        const card = add('IPA_MoodboardPicture', 0, 290 * number);
        set(card, 'role', uses[number][0]);
        set(card, 'strength', uses[number][1]);
        reference.connect(0, card, slot(card, 'image'));
        card.connect(0, board, slot(board, `pictures.picture${number + 1}`));
    });
    board.size = [420, board.computeSize()[1] + 300];
    const sampler = find('KSampler');
    sampler.pos = [left + 1000, top];
    board.connect(0, sampler, slot(sampler, 'model'));
    return board.inputs.map(input => input.name);
}"""

SCORE = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const last = find('VAEDecode'), seen = find('IPA_SmallWorld'), encoder = find('IPA_LoadVision');
    const score = LiteGraph.createNode('IPA_Score');
    app.graph.add(score);
    score.pos = [last.pos[0] + 700, last.pos[1]];
    const slot = name => score.inputs.findIndex(input => input.name == name);
    last.connect(0, score, slot('pictures'));
    encoder.connect(0, score, slot('clip_vision'));
    seen.connect(0, score, slot('references'));
    const shown = LiteGraph.createNode('PreviewImage');
    app.graph.add(shown);
    shown.pos = [score.pos[0] + 600, score.pos[1]];
    score.connect(3, shown, 0);
    score.widgets.find(widget => widget.name == 'texts').value = 'a red circle\\na blue star on a green background';
}"""

GRID = """() => {
    const find = type => app.graph.nodes.find(node => node.type == type);
    const linked = (node, name) => {
        const input = node.inputs.find(input => input.name == name);
        const link = app.graph.links.get ? app.graph.links.get(input.link) : app.graph.links[input.link];
        return [app.graph.getNodeById(link.origin_id), link.origin_slot];
    };
    const [sampler, encode, apply, decode] = ['KSampler', 'IPA_Encode', 'IPA_Apply', 'VAEDecode'].map(find);
    const from = {
        model: linked(apply, 'model'), ip_adapter: linked(encode, 'ip_adapter'), references: linked(encode, 'image'),
        clip_vision: linked(encode, 'clip_vision'), positive: linked(sampler, 'positive'), vae: linked(decode, 'vae'),
        negative: linked(sampler, 'negative'), latent: linked(sampler, 'latent_image'),
    };
    const grid = LiteGraph.createNode('IPA_Grid');
    app.graph.add(grid);
    [grid.pos, grid.size] = [[decode.pos[0] + 700, decode.pos[1]], [440, grid.size[1] + 60]];
    for (const [name, [node, slot]] of Object.entries(from))
        node.connect(slot, grid, grid.inputs.findIndex(input => input.name == name));
    const shown = LiteGraph.createNode('PreviewImage');
    app.graph.add(shown);
    shown.pos = [grid.pos[0] + 700, grid.pos[1]];
    grid.connect(0, shown, 0);
    const set = (name, value) => (grid.widgets.find(widget => widget.name == name).value = value);
    for (const name of ['seed', 'steps', 'cfg', 'sampler_name', 'scheduler'])
        set(name, sampler.widgets.find(widget => widget.name == name).value);
    set('across_values', '0, 0.5, 1');
    set('down', 'seed');
    set('down_values', '1, 2');
}"""


def run(editor: Editor, name: str) -> None:
    """Open a graph of workflows/ and run it: its twin if it has one, else with the tests' weights but without noise."""
    if place(TWIN + name).exists():
        return run_twin(editor, name)
    editor.load(read(place(name)), name)
    editor.set_widgets(RUN)
    editor.page.evaluate(MASK, MASKED)
    editor.page.evaluate(FACES, FACE)
    assert editor.run() == {}
    editor.set_widgets(SHOWN)
    editor.page.evaluate(NOISE)
    editor.settle(AFTER)


def run_twin(editor: Editor, name: str) -> None:
    """Open the twin of a graph and run it."""
    editor.load(read(place(TWIN + name)), name)
    assert editor.run() == {}
    editor.settle(AFTER)


def save(png: bytes, path: Path) -> None:
    """Write a picture with 6 bits per colour, or fewer where it is mostly noise: few eyes see it, and it compresses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for kept in (0xFC, 0xF0, 0xE0):
        Image.open(BytesIO(png)).convert("RGB").point(lambda value, kept=kept: value & kept).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    assert path.stat().st_size < LARGEST


def test_the_editor_after_a_run(editor: Editor) -> None:
    run(editor, CHAIN)
    editor.page.set_viewport_size(PAGE | {"height": 760})
    editor.show(editor.extent())
    save(editor.page.screenshot(), IMAGES / "editor.png")
    editor.page.set_viewport_size(PAGE)


def test_the_one_node_graph_after_a_run(editor: Editor) -> None:
    run(editor, ONE_NODE)
    save(editor.picture(editor.extent()), IMAGES / "simple.png")


@pytest.mark.parametrize("path", sorted({*originals()} - {*with_twin()}), ids=named)
def test_the_thumbnail_of_a_graph_without_a_twin(editor: Editor, path: Path) -> None:
    run(editor, named(path))
    picture = Image.open(BytesIO(editor.picture(editor.extent()))).convert("RGB")
    keep(of_editor(picture, NEEDED[named(path)]), path)


@pytest.mark.parametrize("path", twins(), ids=named)
def test_the_thumbnail_of_a_twin_and_of_its_original_is_what_comes_out_of_the_twin(server: Server, path: Path) -> None:
    graph = read(path)
    prompt = to_prompt(graph, server.object_info())
    (saver,) = (node_id for node_id, node in prompt.items() if node["class_type"] == "SaveImage")
    prompt[saver]["inputs"]["filename_prefix"] = f"thumbnail_{named(path)}"
    saved = Saved("", [Image.fromarray(picture).convert("RGB") for picture in server.run(prompt).images(saver)])
    picture = card(graph, [saved])
    for one in (path, place(named(path).removeprefix(TWIN))):
        keep(picture, one)


def keep(picture: Image.Image, path: Path) -> None:
    """Write the picture of a template beside it."""
    picture.save(path.with_suffix(".jpg"), quality=88, optimize=True)
    assert path.with_suffix(".jpg").stat().st_size < LARGEST_CARD


@pytest.mark.parametrize("node_type", ["IPA_LoadAdapter", "IPA_LoadVision", "IPA_Encode", "IPA_Apply"])
def test_a_node_of_the_chain(editor: Editor, node_type: str) -> None:
    run(editor, CHAIN)
    take(editor, node_type)


@pytest.mark.parametrize("node_type", ["IPA_FaceKeyPoints", "IPA_InstantIDControl"])
def test_a_node_of_instantid(editor: Editor, node_type: str) -> None:
    editor.load(read(place("faceid")), "faceid")
    editor.set_widgets(RUN)
    editor.page.evaluate(FACES, FACE)
    editor.page.evaluate(INSTANT_ID)
    assert editor.run() == {}
    editor.settle(AFTER)
    take(editor, node_type)


def test_an_instruction(editor: Editor) -> None:
    run(editor, CHAIN)
    editor.page.evaluate(INSTRUCTION)
    take(editor, "IPA_Instruction")


def test_ready_made_faces(editor: Editor) -> None:
    run(editor, "faceid")
    editor.page.evaluate(READY)
    take(editor, "IPA_FaceEmbeds")


def test_the_one_node(editor: Editor) -> None:
    run(editor, ONE_NODE)
    take(editor, "IPA_Simple")


@pytest.mark.parametrize(("graph", "node_type"), CONTROLS)
def test_a_node_of_creative_control(editor: Editor, graph: str, node_type: str) -> None:
    run(editor, graph)
    take(editor, node_type)


def test_the_automatic_loader(editor: Editor) -> None:
    run(editor, CHAIN)
    editor.page.evaluate(AUTO)
    take(editor, "IPA_AutoLoad")


@pytest.mark.parametrize(
    ("graph", "node_type"),
    [
        (CHAIN, "IPA_SmallWorld"),
        ("attention_map", "IPA_AttentionMap"),
        ("faceid", "IPA_SmallWorldPortrait"),
        ("faceid", "IPA_Face"),
        ("faceid", "IPA_EncodeFace"),
    ],
)
def test_a_node_in_the_small_world(editor: Editor, graph: str, node_type: str) -> None:
    run_twin(editor, graph)
    take(editor, node_type)


@pytest.mark.parametrize(("node_type", "added"), [("IPA_Score", SCORE), ("IPA_Grid", GRID)])
def test_a_node_of_comparison(editor: Editor, node_type: str, added: str) -> None:
    editor.load(read(place(TWIN + CHAIN)), "comparison")
    editor.page.evaluate(added)
    assert editor.run() == {}
    editor.settle(6000)  # until the notice of success is gone
    take(editor, node_type)


@pytest.mark.parametrize("node_type", ["IPA_MoodboardPicture", "IPA_Moodboard"])
def test_a_node_of_a_moodboard(editor: Editor, node_type: str) -> None:
    editor.load(read(place(f"{TWIN}several_images")), "moodboard")
    sockets = editor.page.evaluate(BOARD)
    assert [name for name in sockets if name.startswith("pictures")] == [f"pictures.picture{n}" for n in (1, 2, 3)]
    assert editor.run() == {}
    editor.settle(6000)  # until the notice of success is gone
    keep_help(editor, node_type)  # with its neighbours, without which its sockets would go


@pytest.mark.parametrize("node_type", ["IPA_Train", "IPA_SaveAdapter"])
def test_a_node_of_training(editor: Editor, node_type: str) -> None:
    editor.load(read(place(TWIN + CHAIN)), "training")
    editor.page.evaluate(TRAINING)
    editor.settle()
    take(editor, node_type)


def test_a_kept_prompt(editor: Editor, server: Server) -> None:
    run(editor, "save_prompt")
    first, *_ = server.object_info()["IPA_LoadPrompt"]["input"]["required"]["file"][1]["options"]
    editor.page.evaluate(KEPT, first)
    editor.settle()
    take(editor, "IPA_LoadPrompt")


def take(editor: Editor, node_type: str) -> None:
    """Picture one node for its help page."""
    editor.isolate(node_type)
    keep_help(editor, node_type)


def keep_help(editor: Editor, node_type: str) -> None:
    """Picture what lies around the nodes of a type for their help page."""
    left, top, width, height = editor.box(node_type)
    around = Box(left - MARGIN, top - ABOVE, width + 2 * MARGIN, height + ABOVE + MARGIN)
    save(editor.picture(around), HELP / f"{node_type}.png")


@pytest.mark.parametrize("path", workflows(), ids=named)
def test_every_template_in_both_canvases_to_look_at(canvas: Editor, path: Path, request: pytest.FixtureRequest) -> None:
    canvas.load(read(path), named(path))
    if named(path).startswith(TWIN):
        assert canvas.run() == {}
        canvas.settle(AFTER)
    look(canvas, request, named(path))


def test_every_node_in_both_canvases_to_look_at(canvas: Editor, server: Server, request: pytest.FixtureRequest) -> None:
    sizes = canvas.fresh([node for node in server.object_info() if node.startswith("IPA_")])
    canvas.page.evaluate(ROWS, sizes)
    look(canvas, request, "all nodes")


def look(canvas: Editor, request: pytest.FixtureRequest, name: str) -> None:
    """Put a picture of the graph where `make screenshots` says that one should look."""
    folder = ROOT / ".host" / "screenshots" / ("Nodes 2.0" if request.node.callspec.params["canvas"] else "classic")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(canvas.picture(canvas.extent()))

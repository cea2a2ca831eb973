"""Twins of the graphs in workflows/ that run on the package's own small models: nothing to download or to upload.

`python -m live.small_world_graphs` in tests/ writes them; a test keeps the committed ones equal to that.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from live.ui_graphs import TWIN, WORKFLOWS, originals, read

Parts = dict[str, Any]  # a node, or a graph, as the editor saves it
Link = list[Any]  # id, node and slot it comes from, node and slot it goes to, type

FILES = {
    "v1-5-pruned-emaonly-fp16.safetensors": "small_world.safetensors",
    "ip-adapter_sd15.safetensors": "small_world_base.safetensors",
    "ip-adapter-plus_sd15.safetensors": "small_world_plus.safetensors",
    "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": "small_world_clip.safetensors",
    "control_v11p_sd15_canny_fp16.safetensors": "small_world_outlines.safetensors",
}
SUBJECTS = {  # shape, colour, texture, background, size, place, seed
    ("animation", "First image"): ("star", "orange", "dotted", "sky", "large", "center", 21),
    ("animation", "Second image"): ("circle", "purple", "striped", "grass", "large", "center", 22),
    ("attention_map", "First image"): ("star", "orange", "dotted", "sky", "large", "left", 37),
    ("attention_map", "Second image"): ("circle", "purple", "striped", "grass", "large", "right", 38),
    ("controlnet_and_image_prompt", "Image prompt"): ("circle", "purple", "striped", "grass", "large", "center", 1),
    ("controlnet_and_image_prompt", "Control picture"): ("star", "yellow", "plain", "black", "large", "center", 2),
    ("image_prompt_in_one_node", "Image prompt"): ("heart", "pink", "striped", "grass", "large", "center", 3),
    ("interpolation", "First image"): ("star", "yellow", "dotted", "black", "large", "center", 23),
    ("interpolation", "Second image"): ("star", "blue", "striped", "sky", "large", "center", 24),
    ("img2img", "Image prompt"): ("circle", "yellow", "checkered", "black", "large", "center", 4),
    ("img2img", "Picture to change"): ("square", "blue", "plain", "sky", "large", "center", 5),
    ("inpainting", "Image prompt"): ("star", "red", "dotted", "sunset", "large", "center", 6),
    ("inpainting", "Picture with a mask"): ("square", "cyan", "plain", "gray", "large", "center", 7),
    ("layer_weights", "Image prompt"): ("circle", "purple", "striped", "grass", "large", "center", 25),
    ("masked_prompt", "Image prompt"): ("heart", "red", "dotted", "sunset", "large", "center", 26),
    ("masked_prompt", "Picture with a mask"): ("square", "cyan", "plain", "gray", "large", "left", 27),
    ("multimodal", "Image prompt"): ("cross", "green", "striped", "black", "large", "center", 8),
    ("noise_as_negative", "Image prompt"): ("circle", "green", "checkered", "sky", "large", "center", 28),
    ("reference_detail", "Image prompt"): ("circle", "pink", "plain", "sunset", "large", "center", 29),
    ("regions", "Left subject"): ("circle", "red", "plain", "sky", "large", "left", 30),
    ("regions", "Right subject"): ("square", "yellow", "striped", "black", "large", "right", 31),
    ("save_prompt", "Image prompt"): ("cross", "cyan", "checkered", "sunset", "large", "center", 39),
    ("several_images", "First image"): ("star", "orange", "dotted", "sky", "large", "center", 32),
    ("several_images", "Second image"): ("circle", "green", "striped", "grass", "large", "center", 33),
    ("style_and_composition", "Composition"): ("square", "cyan", "plain", "gray", "large", "right", 34),
    ("style_and_composition", "Style"): ("star", "orange", "dotted", "sunset", "large", "left", 35),
    ("text_to_image_with_image_prompt", "Image prompt"): ("star", "orange", "dotted", "sky", "large", "left", 9),
    ("two_adapters", "First image prompt"): ("circle", "red", "dotted", "sky", "large", "center", 10),
    ("two_adapters", "Second image prompt"): ("cross", "green", "striped", "sunset", "large", "center", 11),
    ("weight_schedule", "Image prompt"): ("circle", "cyan", "checkered", "sunset", "large", "center", 36),
}
TEXTS = {  # all others are empty
    ("layer_weights", "Positive"): "a large heart on a black background",
    ("masked_prompt", "Positive"): "a black background",
    ("multimodal", "Text prompt"): "a small heart on a sunset background",
    ("weight_schedule", "Positive"): "a large star on a black background",
}
SAMPLING = [42, "fixed", 20, 4, "ddim", "normal"]  # then the denoise of the graph
DENOISE: dict[str, float] = {}  # where it is not that of the main graph
SIDE, ENLARGED = 32, 8  # pixels of a picture; times larger when saved, the most that the node does
ABOUT = {
    "animation": (
        "**From one picture to another, frame by frame.** The two pictures are encoded *one per frame*; *Image Prompt "
        "Transition* spreads them over sixteen frames and back. Change the pictures, the hold, or the key frames."
    ),
    "attention_map": (
        "**Where each picture acted.** *Image Prompt Attention* draws a heat map for each reference over the result: "
        "*share* says how they divide the attention, *influence* how much they add to what the text says."
    ),
    "controlnet_and_image_prompt": (
        "**Shape from one picture, looks from another.** The ControlNet keeps the outlines of *Control picture*, the "
        "image prompt decides what fills them and what is behind. Choose another shape in one or another colour, "
        "texture or background in the other, or lower the strength of one of them."
    ),
    "image_prompt_in_one_node": (
        "**The short way.** *IP-Adapter* finds the adapter and the encoder that fit the model by itself. Choose "
        "another picture in *Image prompt*, or a weight near 0.5 and a text such as *a small star on a sky background*."
    ),
    "img2img": (
        "**A picture, changed towards another.** Sampling starts from *Picture to change* and follows *Image prompt*. "
        "Lower `denoise` keeps more of the first, higher gives more to the second."
    ),
    "interpolation": (
        "**Between two pictures.** *Combine Image Prompts* is half-way from one to the other. Move the weights, or "
        "subtract one from the other."
    ),
    "layer_weights": (
        "**Only some layers follow.** With *style transfer* the text says what is drawn and where, and the picture how "
        "it looks. Run it with other weight types; the node shows which layers they use."
    ),
    "masked_prompt": (
        "**The prompt acts only in the mask**, which is the object in *Picture with a mask*: there the picture says "
        "what is drawn, elsewhere the text does. Move the mask with its `place`."
    ),
    "noise_as_negative": (
        "**Away from noise.** The negative image is noise, and guidance moves away from it: colours become richer. Try "
        "the other kinds, less strength, or no negative image at all."
    ),
    "reference_detail": (
        "**More of the reference.** The encoder reads the picture at twice its resolution, whole and in tiles that "
        "each act in their part of the result. *Encode Image Prompt* shows all that it sees."
    ),
    "regions": (
        "**Two subjects, each in its place.** One region for the left half, one for the right, each with a picture. "
        "Change the pictures, exchange the masks, or give the regions texts."
    ),
    "save_prompt": (
        "**An image prompt as a file.** *Save Image Prompt* writes it into `models/image_prompts`; *Load Image Prompt* "
        "brings it back in any graph with the same adapter, without picture and encoder."
    ),
    "several_images": (
        "**Several pictures in one prompt.** `weights` says how much each counts, `combine` what they become. Try "
        "*average*, *separate* and other weights."
    ),
    "style_and_composition": (
        "**The style of one picture, the composition of another.** Layers known for style follow one, those known for "
        "composition the other. Exchange the pictures, or balance the weights."
    ),
    "weight_schedule": (
        "**A weight that changes while the picture forms.** At first the picture leads, then it gives way to the text. "
        "Turn start and end value around and see what is decided when."
    ),
    "inpainting": (
        "**A picture into a hole of another.** The object in *Picture with a mask* is the hole, and *Image prompt* "
        "shows what goes there; the rest stays as it is. Choose another shape for the hole, or another picture."
    ),
    "multimodal": (
        "**Text and picture together, of different opinions.** At weight 0.5 both have a say. Move the weight: towards "
        "1 the picture wins, towards 0 the text does. The text knows the words that *Small World Picture* offers."
    ),
    "text_to_image_with_image_prompt": (
        "**A picture as prompt.** The text is empty, so what is drawn comes from the image prompt alone. Choose "
        "another shape, colour or background in *Image prompt*; `small_world_plus` follows it more closely."
    ),
    "two_adapters": (
        "**Two adapters, two pictures.** Each picture is read by its own adapter, and the two Apply nodes in a row add "
        "up what they say; their order does not matter. Change both pictures, and balance them by the two weights."
    ),
}
NEEDS = "Nothing to download: the models come with this package. They are small, and so are their pictures: 32x32."

PASSED = {"Canny": 2, "ImageScaleToTotalPixels": 0}  # nodes left out: which output of their source stands for theirs
CHOICES = ("shape", "colour", "texture", "background", "size", "place", "seed")
OUTPUTS = (("image", "IMAGE"), ("mask", "MASK"), ("outlines", "IMAGE"), ("caption", "STRING"))
TITLE_BAR, GAP = 30, 40  # above a node's position; between nodes


def twin(graph: Parts, name: str) -> Parts:
    """The graph `name` of workflows/ as the small world runs it."""
    kept = [rewritten(node, name) for node in graph["nodes"] if node["type"] not in PASSED]
    nodes, links = enlarged(kept, relinked(graph), graph["last_node_id"] + 1, graph["last_link_id"] + 1)
    return {
        **graph,
        "id": str(uuid5(NAMESPACE_URL, TWIN + name)),
        "last_node_id": graph["last_node_id"] + 1,
        "last_link_id": graph["last_link_id"] + 1,
        "nodes": [wired(node, links) for node in stacked(numbered(nodes))],
        "links": links,
    }


def rewritten(node: Parts, name: str) -> Parts:
    """A node with the small world's files and values; nothing that says where to download."""
    edited = REWRITES[node["type"]](node, name) if node["type"] in REWRITES else node
    values = [FILES.get(value, value) for value in edited["widgets_values"]]
    properties = {key: value for key, value in edited["properties"].items() if key != "models"}
    return {**edited, "widgets_values": values, "properties": properties}


def subject(node: Parts, name: str) -> Parts:
    """The node that draws what LoadImage would load."""
    return {
        **node,
        "type": "IPA_SmallWorld",
        "size": [node["size"][0], 520],
        "inputs": [by_hand(choice, "INT" if choice == "seed" else "COMBO") for choice in CHOICES],
        "outputs": [{"localized_name": output, "name": output, "type": kind} for output, kind in OUTPUTS],
        "properties": {"Node name for S&R": "IPA_SmallWorld"},
        "widgets_values": list(SUBJECTS[name, node["title"]]),
    }


def by_hand(name: str, kind: str) -> Parts:
    """An input that is set on the node itself."""
    return {"localized_name": name, "name": name, "type": kind, "widget": {"name": name}, "link": None}


def spoken(node: Parts, name: str) -> Parts:
    """The text prompt in the small world's words, or none."""
    return {**node, "widgets_values": [TEXTS.get((name, node["title"]), "")]}


def sampled(node: Parts, name: str) -> Parts:
    """The sampler as the small world was tuned."""
    return {**node, "widgets_values": [*SAMPLING, DENOISE.get(name, node["widgets_values"][-1])]}


def shrunk(node: Parts, name: str) -> Parts:
    """Empty pictures of the small world's size, as many as there were."""
    return {**node, "widgets_values": [SIDE, SIDE, node["widgets_values"][-1]]}


def saved(node: Parts, name: str) -> Parts:
    """The picture's own name, and room for the node that enlarges it."""
    x, y = node["pos"]
    return {**node, "pos": [x + 70, y], "widgets_values": [TWIN.rstrip("_")]}


def explained(node: Parts, name: str) -> Parts:
    """What to see, and what to change."""
    return {**node, "widgets_values": [f"{ABOUT[name]}\n\n{NEEDS}"]}


REWRITES: dict[str, Callable[[Parts, str], Parts]] = {
    "LoadImage": subject,
    "CLIPTextEncode": spoken,
    "KSampler": sampled,
    "EmptyLatentImage": shrunk,
    "SaveImage": saved,
    "MarkdownNote": explained,
}


def relinked(graph: Parts) -> list[Link]:
    """The links without the nodes in PASSED: what read them reads their source."""
    passed = {node["id"]: PASSED[node["type"]] for node in graph["nodes"] if node["type"] in PASSED}
    sources = {target: origin for _, origin, _, target, *_ in graph["links"] if target in passed}
    kept = [link for link in graph["links"] if link[3] not in passed]
    return [
        [number, sources.get(origin, origin), passed.get(origin, slot), *rest] for number, origin, slot, *rest in kept
    ]


def enlarged(nodes: list[Parts], links: list[Link], node_id: int, link_id: int) -> tuple[list[Parts], list[Link]]:
    """Nodes and links with one more of each: crisp pixels, large enough to look at, are what is saved."""
    (decoder,) = (node for node in nodes if node["type"] == "VAEDecode")
    scaler = enlarger(node_id, decoder)
    moved = [[link[0], node_id, 0, *link[3:]] if link[1] == decoder["id"] else link for link in links]
    return [*nodes, scaler], [*moved, [link_id, decoder["id"], 0, node_id, 0, "IMAGE"]]


def enlarger(node_id: int, decoder: Parts) -> Parts:
    """The node that enlarges, below the decoder."""
    x, y = decoder["pos"]
    image = {"localized_name": "image", "name": "image", "type": "IMAGE"}
    return {
        "id": node_id,
        "type": "ImageScaleBy",
        "pos": [x, y + decoder["size"][1] + GAP + TITLE_BAR],
        "size": [270, 82],
        "flags": {},
        "order": decoder["order"] + 0.5,
        "mode": 0,
        "inputs": [image, by_hand("upscale_method", "COMBO"), by_hand("scale_by", "FLOAT")],
        "outputs": [{"localized_name": "IMAGE", "name": "IMAGE", "type": "IMAGE"}],
        "properties": {"Node name for S&R": "ImageScaleBy"},
        "widgets_values": ["nearest-exact", ENLARGED],
    }


def numbered(nodes: list[Parts]) -> list[Parts]:
    """The nodes with the order of their execution as whole numbers."""
    ranks = {node["id"]: rank for rank, node in enumerate(sorted(nodes, key=lambda node: float(node["order"])))}
    return [{**node, "order": ranks[node["id"]]} for node in nodes]


def stacked(nodes: list[Parts]) -> list[Parts]:
    """The nodes, each moved down until those above it leave it room."""
    placed: dict[int, Parts] = {}
    for node in sorted(nodes, key=lambda node: node["pos"][1]):
        x, y = node["pos"]
        ends = [other["pos"][1] + other["size"][1] for other in placed.values() if in_line(node, other)]
        placed[node["id"]] = {**node, "pos": [x, max([y, *(end + GAP + TITLE_BAR for end in ends)])]}
    return [placed[node["id"]] for node in nodes]


def in_line(one: Parts, other: Parts) -> bool:
    """Whether one node could cover the other if it were moved up or down."""
    (left, right), (start, end) = ((node["pos"][0], node["pos"][0] + node["size"][0]) for node in (one, other))
    return bool(left < end and start < right)


def wired(node: Parts, links: list[Link]) -> Parts:
    """A node whose sockets know the links."""
    into = {link[4]: link[0] for link in links if link[3] == node["id"]}
    out = [[link[0] for link in links if link[1:3] == [node["id"], slot]] for slot in range(len(node["outputs"]))]
    return {
        **node,
        "inputs": [{**socket, "link": into.get(slot)} for slot, socket in enumerate(node["inputs"])],
        "outputs": [{**socket, "links": going or None} for socket, going in zip(node["outputs"], out, strict=True)],
    }


def with_twin() -> list[Path]:
    """The graphs whose models the small world has all of; it has no faces, for one."""
    return [path for path in originals() if needed(read(path)) <= FILES.keys()]


def needed(graph: Parts) -> set[str]:
    """The model files that a graph names."""
    return {model["name"] for node in graph["nodes"] for model in node["properties"].get("models", [])}


def main() -> None:
    """Write every twin beside its graph."""
    for path in with_twin():
        text = json.dumps(twin(read(path), path.stem), indent=2, ensure_ascii=False)
        (WORKFLOWS / f"{TWIN}{path.name}").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""TABLE of the templates' titles, in the order that teaches.

ComfyUI shows a template under the name of its file, so that is where they stand; the plain names are what tests, tables
and `make demo GRAPH=` call the graphs.
"""

PACK, DEMO = "IP-Adapter", " (demo)"  # begins each title, so that a search finds it; ends that of a twin
TWIN = "small_world_"  # begins the plain name of a graph's twin
TITLES = {
    "image_prompt_in_one_node": "One node",
    "text_to_image_with_image_prompt": "Load, encode, apply",
    "multimodal": "Picture and text",
    "style_and_composition": "Style and composition",
    "several_images": "Several pictures",
    "masked_prompt": "Mask",
    "regions": "Two subjects",
    "two_adapters": "Two adapters",
    "layer_weights": "Layer weights",
    "weight_schedule": "Weight schedule",
    "interpolation": "Between two pictures",
    "animation": "Animation",
    "img2img": "Image to image",
    "inpainting": "Inpainting",
    "controlnet_and_image_prompt": "ControlNet",
    "prepared_reference": "Prepared picture",
    "reference_detail": "Fine detail",
    "noise_as_negative": "Noise as negative",
    "save_prompt": "Saved prompt",
    "attention_map": "Attention map",
    "composition": "Composition",
    "faceid": "Face",
    "faceid_plus_v2": "Face and its look",
    "portrait": "Portrait",
    "kolors": "Kolors",
    "masked_reference": "Part of a picture",
    "moodboard": "Moodboard",
    "flux_image_prompt": "Flux",
    "instantid": "InstantID",
    "sd35_image_prompt": "SD3.5 Large",
    "anima_image_prompt": "Anima",
    "pulid": "PuLID",
    "instruction": "Instruction",
}
_NUMBERED = {name: f"{PACK} {number:02} {title}" for number, (name, title) in enumerate(TITLES.items(), 1)}
_PLAIN = {title: name for name, title in _NUMBERED.items()}


def titled(name: str) -> str:
    """The title of a graph by its plain name."""
    return _NUMBERED[name.removeprefix(TWIN)] + DEMO * name.startswith(TWIN)


def plain(title: str) -> str:
    """The plain name of a graph by its title; a plain name is its own."""
    name = title.removesuffix(DEMO)
    return TWIN * title.endswith(DEMO) + _PLAIN[name] if name in _PLAIN else title

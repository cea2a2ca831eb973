"""What every node of the package says of itself: its inputs, their options and its outputs."""

import asyncio
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from typing import Any

FILE_LISTS = {
    ("IPA_LoadAdapter", "file"),
    ("IPA_LoadVision", "file"),
    ("IPA_LoadPrompt", "file"),
    ("IPA_LoadPrompt", "negative"),
    ("IPA_Face", "model"),
    ("IPA_FaceEmbeds", "file"),
}
"""Menus of the files on disk, by node and input."""

HOST_LISTS = {("IPA_Grid", "sampler_name"), ("IPA_Grid", "scheduler")}
"""Menus of what the host has, and other packs add to, by node and input."""

OPEN_LISTS = FILE_LISTS | HOST_LISTS
"""Menus whose words are not this package's."""


def parts() -> dict[str, Any]:
    """The schemas of the nodes that other nodes become while they run, and that menus do not have."""
    from comfyui_ip_adapter.nodes import PARTS

    return {schema.node_id: schema for schema in (node.define_schema() for node in PARTS)}


@cache
def schemas() -> dict[str, Any]:
    """The schema of each node by its id, with ComfyUI in the process; its folders are left as they were."""
    import folder_paths

    from comfyui_ip_adapter.nodes import NODES, Extension

    known = deepcopy(folder_paths.folder_names_and_paths)
    try:
        asyncio.run(Extension().on_load())
        return {schema.node_id: schema for schema in (node.define_schema() for node in NODES)}
    finally:
        folder_paths.folder_names_and_paths.clear()
        folder_paths.folder_names_and_paths.update(known)


def options(given: Any) -> list[str]:
    """What the menu of an input offers; nothing where it has none."""
    return [str(option) for option in getattr(given, "options", None) or []]


def described(node: str, name: str) -> Any:
    """An input of a node."""
    return next(given for given in (schemas() | parts())[node].inputs if given.id == name)


def object_info() -> dict[str, Any]:
    """The nodes of the package as /object_info tells them."""
    from comfyui_ip_adapter.nodes import NODES

    return {node: asdict(schemas()[node].get_v1_info(made)) for node, made in zip(schemas(), NODES, strict=True)}

"""Saved image prompts on a running ComfyUI: the picture of a loaded prompt, and what the nodes say."""

from typing import Any

import numpy as np
import pytest
import torch

from live.graphs import Graph, Node, text_to_image
from live.prompting import OTHER, REFERENCE, Prompted, stock
from live.results import ValidationError
from live.server import Server
from live.specimens import named
from payload import Payload

LOADED = "prompt_00001.safetensors"


class Loaded(Prompted):
    """A model hook: the model follows a prompt of a file."""

    def __call__(self, graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPA_LoadAdapter", "adapter", file=self.adapter)
        return self.applied(graph, model, graph.add("IPA_LoadPrompt", "prompt", ip_adapter=adapter, file=LOADED))


class Saved(Prompted):
    """A model hook: the model follows a prompt that is saved on the way."""

    def applied(self, graph: Graph, model: Any, prompt: Any) -> Node:
        kept = graph.add("IPA_SavePrompt", "save", image_prompt=prompt, filename_prefix="prompt", note="a cat")
        return super().applied(graph, model, kept)


def test_a_loaded_prompt_gives_the_picture_of_the_saved_one(server: Server) -> None:
    stock(server)
    saved = server.run(text_to_image(Saved(images=(REFERENCE, OTHER))))
    menu = server.get("/object_info/IPA_LoadPrompt")["IPA_LoadPrompt"]["input"]["required"]["file"]
    assert LOADED in str(menu)
    again = server.run(text_to_image(Loaded()))
    assert again.outputs["prompt"]["text"][0].endswith("2 images, made with specimens/base.safetensors\na cat")
    assert np.array_equal(again.image(), saved.image())


def test_a_malicious_file_is_refused_before_anything_runs(server: Server) -> None:
    torch.save(Payload(server.base / "executed"), server.base / "input" / "evil.ipadpt")
    graph = Graph()
    adapter = graph.add("IPA_LoadAdapter", "adapter", file=named("base.safetensors"))
    prompt = graph.add("IPA_LoadPrompt", "prompt", ip_adapter=adapter, file="evil.ipadpt [input]")
    graph.add("IPA_SavePrompt", image_prompt=prompt, filename_prefix="x")
    with pytest.raises(ValidationError) as refused:
        server.run(graph)
    assert "wants to run code" in str(refused.value)
    assert not (server.base / "executed").exists()

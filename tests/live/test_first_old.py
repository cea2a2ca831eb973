import numpy as np, pytest
from live import specimens
from live.graphs import Graph, text_to_image
from live.prompting import OTHER, REFERENCE, Prompted, difference, load, picture
from live.specimens import named


def advanced(**more):
    def hook(graph, model):
        a = graph.add("IPAdapterModelLoader", ipadapter_file=named("base.safetensors"))
        t = graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
        return graph.add(
            "IPAdapterAdvanced",
            model=model,
            ipadapter=a,
            clip_vision=t,
            image=load(graph, REFERENCE),
            **(
                {
                    "weight": 1.0,
                    "weight_type": "linear",
                    "combine_embeds": "concat",
                    "start_at": 0.0,
                    "end_at": 1.0,
                    "embeds_scaling": "V only",
                }
                | more
            ),
        )

    return hook


def test_same_as_ours(stocked, prompted):
    assert difference(picture(stocked, advanced()), prompted) == 0


def test_retired(stocked, plain, prompted):
    for w in ("original", "style transfer (SDXL)"):
        assert difference(picture(stocked, advanced(weight_type=w)), plain) > 0


def test_unified(stocked, plain):
    def hook(graph, model):
        u = graph.add("IPAdapterUnifiedLoader", model=model, preset="PLUS (high strength)")
        return graph.add(
            "IPAdapter",
            model=u,
            ipadapter=u[1],
            image=load(graph, REFERENCE),
            weight=1.0,
            start_at=0.0,
            end_at=1.0,
            weight_type="standard",
        )

    assert difference(picture(stocked, hook), plain) > 0


def test_old_numbers(stocked, prompted):
    assert difference(picture(stocked, advanced(numbers="IPAdapter Plus")), prompted) > 0


def test_old_apply(stocked, plain):
    def hook(graph, model):
        a = graph.add(
            "IPAdapterModelLoader", ipadapter_file="some\\folder\\" + named("base.safetensors").split("/")[-1]
        )
        t = graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
        return graph.add(
            "IPAdapterApply",
            model=model,
            ipadapter=a,
            clip_vision=t,
            image=load(graph, REFERENCE),
            weight=1.0,
            noise=0.0,
            weight_type="original",
        )

    assert difference(picture(stocked, hook), plain) > 0

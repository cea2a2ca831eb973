import numpy as np, pytest
from live import specimens
from live.graphs import Graph, text_to_image
from live.prompting import OTHER, REFERENCE, WIDE, difference, load, picture
from live.specimens import named

def loaders(graph, adapter="base"):
    a=graph.add("IPAdapterModelLoader", ipadapter_file=named(f"{adapter}.safetensors"))
    t=graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
    return {"ipadapter":a,"clip_vision":t}

CASES={
 "IPAdapterBatch":{}, "IPAdapterTiled":{"sharpening":.2}, "IPAdapterTiledBatch":{}, "IPAdapterMS":{"layer_weights":"3:2, 6:1","weight_faceidv2":1.0},
 "IPAdapterClipVisionEnhancer":{"enhance_tiles":2,"enhance_ratio":.5},"IPAdapterClipVisionEnhancerBatch":{},
 "IPAdapterPreciseStyleTransfer":{"style_boost":1.},"IPAdapterPreciseComposition":{"composition_boost":.5},"IPAdapterFaceID":{},"IPAdapterFaceIDKolors":{},
}
BASE={"weight":1.0,"weight_type":"linear","combine_embeds":"average","start_at":0.0,"end_at":1.0,"weight_faceidv2":1.,"weight_kolors":1.,"sharpening":0.}
@pytest.mark.parametrize("node",CASES)
def test_apply(stocked, plain, node):
    def hook(graph, model):
        image=load(graph,WIDE) if "Tiled" in node else load(graph,REFERENCE)
        return graph.add(node, model=model, image=image, **(BASE|CASES[node]), **loaders(graph,"plus"))
    assert difference(picture(stocked, hook), plain)>0

def test_two(stocked, plain):
    def hook(graph, model):
        return graph.add("IPAdapterStyleComposition", model=model, image_style=load(graph,REFERENCE), image_composition=load(graph,OTHER),weight_style=1.,weight_composition=1.,expand_style=False,combine_embeds="average",start_at=0.,end_at=1., **loaders(graph))
    assert difference(picture(stocked, hook), plain)>0

def test_embeds(stocked, plain):
    def hook(graph, model):
        l=loaders(graph)
        e=graph.add("IPAdapterEncoder", image=load(graph,REFERENCE), weight=1.0, **l)
        f=graph.add("IPAdapterEncoder", image=load(graph,OTHER), weight=.5, **l)
        c=graph.add("IPAdapterCombineEmbeds", embed1=e, embed2=f, method="norm average")
        graph.add("IPAdapterSaveEmbeds", embeds=c, filename_prefix="IP_embeds")
        return graph.add("IPAdapterEmbeds", model=model, pos_embed=c, neg_embed=e[1], weight=1.,weight_type="linear",start_at=0.,end_at=1., **l)
    assert difference(picture(stocked, hook), plain)>0
    print(list((stocked.base/"output").glob("*.ipadpt")))
    assert list((stocked.base/"output").glob("*.ipadpt"))

def test_regions(stocked, plain):
    def hook(graph, model):
        l=loaders(graph)
        m=graph.add("SolidMask", value=1.0,width=64,height=64)
        r=[graph.add("IPAdapterRegionalConditioning", image=load(graph,n), image_weight=1.,prompt_weight=1.,weight_type="linear",start_at=0.,end_at=1.,mask=m,positive=graph.add("CLIPTextEncode",text="x",clip=["loader",1])) for n in (REFERENCE,OTHER)]
        c=graph.add("IPAdapterCombineParams", params_1=r[0], params_2=r[1])
        return graph.add("IPAdapterFromParams", model=model, ipadapter_params=c, combine_embeds="concat", **l)
    assert difference(picture(stocked, hook), plain)>0

def test_weights(stocked, plain):
    def hook(graph, model):
        l=loaders(graph)
        w=graph.add("IPAdapterWeights", weights="1.0, 0.0", timing="linear", frames=2, start_frame=0,end_frame=9999,add_starting_frames=0,add_ending_frames=0,method="alternate batches", image=load(graph,REFERENCE,OTHER))
        a=graph.add("IPAdapterBatch", model=model, image=w[3], weight=w, weight_type="linear", start_at=0., end_at=1., **l)
        return graph.add("IPAdapterBatch", model=a, image=w[4], weight=w[1], weight_type="style and composition", start_at=0., end_at=1., **l)
    assert difference(picture(stocked, hook,batch=2), picture(stocked,batch=2))>0

def test_prep_and_noise(stocked, plain):
    def hook(graph, model):
        p=graph.add("PrepImageForClipVision", image=load(graph,WIDE), interpolation="bicubic", crop_position="top", sharpening=.3)
        n=graph.add("IPAdapterNoise", type="shuffle", strength=.6, blur=3, image_optional=p)
        return graph.add("IPAdapterAdvanced", model=model, image=p, image_negative=n, **(BASE), **loaders(graph))
    assert difference(picture(stocked, hook), plain)>0

def test_old(stocked, plain):
    def hook(graph, model):
        l=loaders(graph)
        e=graph.add("IPAdapterEncoder (before version 2)", clip_vision=l["clip_vision"], image_1=load(graph,REFERENCE), image_2=load(graph,WIDE), ipadapter_plus=False, noise=.3, weight_1=.8)
        return graph.add("IPAdapterApplyEncoded", model=model, ipadapter=l["ipadapter"], embeds=e, weight=1., weight_type="channel penalty")
    assert difference(picture(stocked, hook), plain)>0

def test_other(stocked, plain):
    def hook(graph, model):
        l=loaders(graph)
        return graph.add("IPAdapter (laksjdjf)", model=model, image=load(graph,REFERENCE), clip_vision=l["clip_vision"], weight=1., model_name=named("base.safetensors"), dtype="fp16")
    assert difference(picture(stocked, hook), plain)>0
def test_tiles_masked(stocked, plain):
    def hook(graph, model):
        return graph.add("IPAdapterTilesMasked", model=model, image=load(graph,WIDE), weight=.7, short_side_tiles=2, **loaders(graph))
    assert difference(picture(stocked, hook), plain)>0

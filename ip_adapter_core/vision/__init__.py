"""A picture becomes features.

In: pictures (images, height, width, 3). Out: embeds (images, width) and hidden states (images, patches, width) of a
CLIP vision encoder. Read preprocess, then encoder, which runs a network that towers builds from a file: layouts names
its tensors (timm_layouts those of SigLIP and PE-Core), parts makes them of those in a file, registry knows OpenCLIP's
architectures, matching finds the one with these tensors, positions adapts it to another resolution. prepare cuts
squares where users want them and sharpens, tiles cuts a large picture into several, reference_mask leaves out what is
not to be read of one, enhance joins the features of parts, noise makes a negative of one. text_half builds the other
half of a whole CLIP, and scores says how near pictures come to references and texts.
Tests: tests/core/vision; registry, layouts, parts and matching in test_towers.py through towers.
"""

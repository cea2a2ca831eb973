"""A face becomes features.

In: pictures (images, height, width, 3). Out: embeddings (faces, 512) and the cut-out faces. Read detection, alignment,
features; networks runs ONNX files whose inputs onnx_io describes, insightface runs the library of that name on its
packs (insightface_packs), embeds reads embeddings from a file. Tests: tests/core/faces; onnx_io, insightface and
insightface_packs in test_networks.py.
"""

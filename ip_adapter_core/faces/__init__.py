"""A face becomes features.

In: pictures (images, height, width, 3). Out: embeddings (faces, 512), the cut-out faces, and the picture of their key
points. Read detection, alignment, features, on_white (a face as PuLID sees it), key_points; networks runs ONNX files
whose inputs onnx_io describes, insightface runs the library of that name on its packs (insightface_packs), embeds reads
embeddings from a file. Tests: tests/core/faces; onnx_io, insightface and insightface_packs in test_networks.py.
"""

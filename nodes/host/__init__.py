"""The only place that imports ComfyUI: files, devices, memory, and installing image prompts on a model.

In: what nodes are given. Out: what they give. Read adapters and vision (files in ComfyUI's folders, which files finds,
as networks that its memory management knows), encoding (an image prompt of pictures), then the room sampling;
face_control puts face tokens into conditioning, instruction reads what adapters are told, models says what a MODEL is.
Tests: tests/host; auto and files in test_vision.py, vision_model in test_clip_vision_ways.py, face_embeds in
test_faces.py, models in tests/nodes/test_layer_weights.py and tests/nodes/test_node.py, regions in
tests/host/sampling/test_on_fake_cuda.py, and regions in tests/live/test_control_nodes.py through graphs, warn in
tests/host/sampling/test_crops.py, pictures in tests/nodes/test_layer_weights.py through layer_weights, small_world in
tests/benchmarks/test_small_world.py, grid in tests/live/test_grid.py; old_names, old_pack and server in
tests/live/test_old_nodes.py through old_graphs.
"""

"""Image prompts inside ComfyUI's samplers.

In: a MODEL and an Application. Out: a MODEL that follows it. Read model_patch (apply, install, the wrappers), run (one
sampling), batch (whose rows a call has), prepared (K', V' for these rows), layer_patch (the sum in a layer); steps,
cond_sides, crops and foreign_attention each answer one question about the host; cache keeps what a run prepared,
compile and compile_marks serve compiled models, lora puts an adapter's LoRA on the model, attention_hook watches.
Tests: tests/host/sampling; batch, prepared, run and layer_patch in test_model_patch.py, test_parts.py and
test_neighbours.py, cond_sides and foreign_attention in test_neighbours.py, attention_hook in
tests/host/test_attention_map.py, lora in tests/core/attention/test_fidelity_faces.py.
"""

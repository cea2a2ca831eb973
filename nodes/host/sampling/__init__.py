"""Image prompts inside ComfyUI's samplers.

In: a MODEL and an Application. Out: a MODEL that follows it. Read model_patch (apply, install, the wrappers), run (one
sampling), batch (whose rows a call has), prepared (K', V' of one application for these rows), prepared_layers (what
every layer attends to, kept by cache), hooks (how each construction takes that), layer_patch (the sum in a layer of a
UNet; layer_options tells which), dit_blocks (patches in the place of blocks), double_blocks (the sum behind a block of
Flux; flux_queries makes its queries), inner_attention (the sum inside such a block), joint_blocks (the sum inside a
block of SD3.5), cross_blocks (the sum inside a block of Anima, or behind it). steps, cond_sides, crops,
foreign_attention, compile and compile_marks each answer one question about the host; lora puts an adapter's LoRA on the
model, exchange a prompt in the place of another, attention_hook captures attention maps. Tests: tests/host/sampling;
prepared_layers in test_control.py and test_crops.py, run in test_model_patch.py, test_control.py and test_steps.py,
layer_patch in test_control.py, test_fidelity.py and test_lora.py, layer_options in test_fidelity.py through
layer_patch, dit_blocks and flux_queries in test_double_blocks.py through sampled, foreign_attention in
test_neighbours.py through sampled, attention_hook in tests/host/test_attention_map.py through attention_map.
"""

"""Facts of a base model.

In: a model's configuration. Out: its layers in the order of adapter files, the family it belongs to, and which blocks
of a UNet carry style and composition. Read layout (UNets), double_stream (Flux), joint_stream (SD3.5), cross_stream
(Anima), architectures, families, roles. Tests: tests/core/layers; roles in tests/core/settings/test_layer_weights.py,
where they are used.
"""

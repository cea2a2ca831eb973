"""Facts of a base model.

In: a UNet's configuration. Out: its cross-attentions in the order of adapter files, the family it belongs to, and which
of its blocks carry style and composition. Read layout, families, roles. Tests: tests/core/layers; roles in
tests/core/settings/test_layer_weights.py, where they are used.
"""

"""An adapter file becomes K' and V' of every cross-attention.

In: a file; then features. Out: an Adapter, whose image projection makes tokens (images, tokens, context) and whose
layers make keys_values (images, tokens, inner). Read variants (the kinds, a row each), projections (their networks),
adapter (the whole network), then loading, which checkpoint helps to split by parts; resolution decides between kinds
with equal tensors, identity says what a file is, lora and saving do as they are called. Tests: tests/core/adapters;
variants, checkpoint, keys_values,
identity and loading are tested in test_adapter.py and test_resolution.py.
"""

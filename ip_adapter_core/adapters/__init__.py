"""An adapter file becomes K' and V' of every cross-attention.

In: a file; then features. Out: an Adapter, whose image projection makes tokens (images, tokens, context) and whose
layers make keys_values (images, tokens, inner). Read variants (the kinds, a row each), projections, pulid,
time_resampler, centred_resampler and instructed_resampler (their networks), key_value_layers, adapter (the whole
network), stored_layers (of kinds that stay in their file), then loading, which checkpoint helps to split by parts;
namings says what files call them, diffusers_names what diffusers does, partial what a damaged one lacks, resolution
decides between kinds with equal tensors, identity says what a file is, lora and saving do as they are called. Tests:
tests/core/adapters; variants in test_projections.py and tests/test_tables.py, checkpoint, identity and loading in
test_adapter.py, keys_values in test_adapter.py through adapter, namings in test_xlabs_names.py,
test_instantx_names.py, test_pulid_names.py, test_anima_names.py and test_lucifer_names.py, key_value_layers in
test_time_resampler.py.
"""

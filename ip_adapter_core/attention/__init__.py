"""A prompt and its settings on a model: Z = Attn(Q, K, V) + λ·Attn(Q, K', V').

In: an ImagePrompt and a user's choices; then queries. Out: an Application for each part of the prompt, and the image
attention of a layer (rows, pixels, inner). Read reference (the formula as it stands in the paper), application,
scaling (how λ enters), balance (how what is added is held against the text), projection (how PuLID's is turned away
from it), grouped (forms that compute many prompts at once, and equal the reference), joint (of prompts that share a
softmax with the picture), attention_map (what each prompt did), export (K', V' and λ as a file for other programs).
Tests: tests/core/attention; the comparison with diffusers is tests/host/sampling/test_fidelity.py.
"""

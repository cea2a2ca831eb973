"""Training on a MODEL, with ComfyUI's VAE, text encoder and memory.

In: a MODEL, pictures and captions. Out: a file of a trained adapter. Read session (a node's run), base_model (the MODEL
as the frozen base; frozen puts its modules into that state), dataset (examples through VAE, text and vision encoder),
samples (pictures on the way), command (the same on the command line); model_identity tells whether a cache is of the
same model. Tests: tests/host/training; session in tests/host/test_dynamic_vram.py; on a server,
session in tests/live/test_training.py through training; command and samples in tests/nodes/test_train_command.py
through train_command.
"""

"""Tensors on disk.

In: a path. Out: names, shapes and values of the tensors in it, read and never executed; files written whole or not at
all. Read tensor_file, which reads safetensors files itself and asks pickles for the rest, stored (tensors that stay in
their file), then atomic; errors holds the one error of a file that cannot be used, foreign names the kinds of files
that do not run here. Tests: tests/core/files; errors in test_tensor_file.py, pickles in test_tensor_file.py through
tensor_file.
"""

"""Tensors on disk.

In: a path. Out: names, shapes and values of the tensors in it, read and never executed; files written whole or not at
all. Read tensor_file, then atomic; errors holds the one error of a file that cannot be used. Tests: tests/core/files;
errors is tested with the files that raise it.
"""

"""What graphs of IPAdapter Plus mean, as values.

In: the words, numbers and lists that its nodes take. Out: what the rooms below take, or numbers and texts for other
nodes. Read frame_weights, then prompt_schedule. Tests: tests/core/compat.
"""

"""The recipe of the demo models, and what is measured on them.

In: scenes of ip_adapter_core/small_world, drawn with their captions, and a ComfyUI. Out: the weights that
models/small_world ships, and the tables and pictures of its RESULTS.md. Read everything (the parts in order), then the
parts: words, clip, judge, base, adapters, controlnet, style. shelf keeps what is made on the way, descent is the
training that parts have in common. Then evaluate: host and sampling make pictures with the shipped weights, scores
judges them, figures draws; history tells how each part was trained. run starts any of these from the command line.
Tests: tests/benchmarks/test_small_world.py.
"""

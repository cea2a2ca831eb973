"""The toy world of the demo models.

In: a description of a scene. Out: its picture and its caption. Read world (what there is), drawing. Both depend on
nothing else here; the models are made and measured in benchmarks/small_world. Tests: tests/core/small_world,
and those of the models in tests/benchmarks/test_small_world.py.
"""

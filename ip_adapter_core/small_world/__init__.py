"""The toy world of the demo models.

In: a description of a scene, or of a portrait. Out: its picture and its caption. Read world (what there is), drawing;
then people, portraits, face_parts; both draw on a canvas and depend on nothing else here. The models are made and
measured in benchmarks/small_world, and tested in tests/benchmarks. Tests: canvas in test_drawing.py, face_parts in
test_portraits.py through portraits.
"""

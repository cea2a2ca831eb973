"""The nodes of IPAdapter Plus, which is no longer maintained: graphs and programs that use them go on working.

In: what such a graph connects and types. Out: what that pack's nodes gave, made by the host's rooms and the core. They
are hidden from the editor's menus, and registered when the server starts, only if no other pack has any of their ids.
Read doors (which class and which method an id has), then classes, then values, numbers, references and placing, which
the doors use. Tests: tests/nodes/compat; applying in test_placing.py; checks and doors in test_classes.py through
classes; embeds, frames, loading, numbers, other_shapes, pictures, references, regions, registration and tiled in
tests/live/test_old_nodes.py through old_graphs.
"""

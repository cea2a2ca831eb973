"""The nodes of IPAdapter Plus and of ComfyUI_InstantID, which are no longer maintained: what uses them goes on working.

In: what such a graph connects and types. Out: what that pack's nodes gave, made by the host's rooms and the core. They
are hidden from the editor's menus, and registered when the server starts, only if no other pack has an id of that pack.
Read doors (which class and which method an id has), then classes, then values, numbers, references and placing, which
the doors use; instantid is the second pack's. Tests: tests/nodes/compat; applying in test_placing.py; checks and doors
in test_classes.py through classes; instantid in test_instantid.py through classes; embeds, frames, loading, numbers,
other_shapes, pictures, references, regions, registration and tiled in tests/live/test_old_nodes.py through old_graphs.
"""

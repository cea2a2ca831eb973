"""Turns nodes of IPAdapter Plus in saved graphs into the nodes of this package.

In: a graph of the editor or a prompt of the API, as JSON. Out: the graph with new nodes in place of the old ones, and a
line of report on each; what cannot be carried over stays as it is. Read sheet (a graph without its format), then rows
(what becomes of which node, by way of loaders, applying, embeds and pictures), decide (which nodes stay), convert, and
prompts, or editor, writing, placing and drawn (the two formats). Tests: tests/core/migrate; sheet, loaders, applying,
embeds, pictures and decide in test_rows.py through convert; editor, writing, placing and drawn in test_editor.py
through convert; prompts and convert in test_prompts.py through convert; __main__ and command in test_command.py
through command.
"""

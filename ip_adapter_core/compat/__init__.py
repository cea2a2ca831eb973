"""What graphs of IPAdapter Plus and of ComfyUI_InstantID mean, as values.

In: ids, words and values of those packs, as people saved them. Out: what they are called and do today. Read words, then
signatures (the nodes, a row each), then presets; shapes makes graphs of other times today's, file_names gives
them the files of this computer, and ui_graph walks them; frame_weights stands for itself, and so does instantid, which
has the nodes of the second pack and its numbers. Tests: tests/core/compat.
"""

"""What graphs of IPAdapter Plus mean, as values.

In: ids, words and values of that pack, as people saved them. Out: what they are called and do today. Read words, then
signatures (the nodes, a row each), then presets; shapes makes graphs of other times today's, file_names gives
them the files of this computer, and ui_graph walks them; frame_weights stands for itself. Tests: tests/core/compat.
"""

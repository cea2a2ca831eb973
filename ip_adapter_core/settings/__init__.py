"""A user's choices: where, when and how strongly an image prompt acts.

In: words, numbers and masks. Out: a weight for every layer (layer_weights, weight_list), the steps in which a prompt
acts (span), its strength over time (curves, of which schedule is made), where in the picture it acts (masks; places has
those with a name), the pictures of a moodboard (moodboard), what to take from pictures (instruction), and the choices
of many samplings at once (grid). The other files stand for themselves. Tests: tests/core/settings; curves is tested in
test_schedule.py, instruction in tests/core/prompts/test_told.py.
"""

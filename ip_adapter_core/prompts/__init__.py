"""Image prompts as values.

In: an adapter and the features of images. Out: an ImagePrompt: tokens and K', V' of every layer, for the cond and the
uncond side. Read features, told and prompt, then combine (several images before the projection), arithmetic (several
prompts after it), transitions (over frames), control (what a ControlNet reads of a prompt); saved writes prompts to
files of tensors, ipadpt reads those of IPAdapter Plus. Tests: tests/core/prompts; features in test_prompt.py, tensors
in test_saved.py through saved.
"""

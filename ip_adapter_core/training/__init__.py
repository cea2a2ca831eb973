"""The paper's training.

In: examples (pictures with captions, as latents and features), a frozen base model and settings. Out: the weights of a
new adapter. Read settings, interface (what a run needs and gives), loop, objective (the loss), draws (what each step
draws), then fresh (a new adapter's weights); listings, pairs, pictures, cache and shards bring examples from disk,
state keeps a run that can go on, engines spread it over devices, stopping ends it. Tests: tests/core/training;
interface in test_loop.py through loop, settings in test_settings.py through parts, listings in test_pairs.py through
pairs, pictures and shards in test_cache.py.
"""

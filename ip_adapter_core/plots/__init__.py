"""What people look at.

In: layer weights, a schedule, maps, losses. Out: an RGB picture. axes and drawing are shared; layer_bars, schedule,
heat_map, transition and loss draw one thing each. Tests: tests/core/plots; axes, drawing and transition are tested with
the pictures they are part of, transition in tests/core/prompts/test_transitions.py.
"""

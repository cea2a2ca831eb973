"""What people look at.

In: layer weights, a schedule, a moodboard, maps, losses. Out: an RGB picture. axes and drawing are shared; layer_bars,
schedule, moodboard, heat_map, transition and loss draw one thing each. Tests: tests/core/plots; axes in test_loss.py,
drawing in test_heat_map.py through heat_map.
"""

"""What people look at.

In: layer weights, a schedule, maps, losses, scores. Out: an RGB picture. axes and drawing are shared; layer_bars,
schedule, heat_map, transition, loss and score_table draw one thing each. Tests: tests/core/plots; axes in test_loss.py.
"""

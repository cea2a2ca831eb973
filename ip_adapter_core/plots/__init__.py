"""What people look at.

In: layer weights, a schedule, a moodboard, maps, losses, scores, samplings, cuts. Out: an RGB picture. axes and drawing
are shared; layer_bars, schedule, moodboard, heat_map, transition, loss, score_table, grid_sheet and cut_sheet draw one
thing each.
Tests: tests/core/plots; axes in test_loss.py, drawing in test_score_table.py.
"""

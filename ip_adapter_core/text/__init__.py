"""What people write, and what the package writes to them.

In: a line that somebody typed. Out: numbers, or one sentence that says what is wrong with it. Read number_lists,
checks, then wording. Tests: tests/core/text.
"""

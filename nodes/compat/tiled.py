"""stub"""


def apply_tiled(**k):
    raise NotImplementedError


apply_masked = apply_tiled

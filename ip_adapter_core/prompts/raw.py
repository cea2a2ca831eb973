def combine_embeds(parts, how):
    raise NotImplementedError

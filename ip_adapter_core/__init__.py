"""IP-Adapter without a host: files, projections, layers, attention (torch, einops, safetensors, open_clip, numpy)."""

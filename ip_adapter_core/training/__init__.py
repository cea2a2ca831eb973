"""Training an IP-Adapter on a frozen diffusion model (arXiv 2308.06721, sections 3.2.3 and 4.1.2), without a host."""

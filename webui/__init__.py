"""Easel: a latent-diffusion web UI."""

__version__ = "0.1.0"

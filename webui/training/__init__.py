"""Training of latent diffusion models: first stage, text encoder, denoiser.

Uses `webui.engine`; the engine never imports this package.
"""

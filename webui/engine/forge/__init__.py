"""Models made of models: merging and converting, tensor by tensor, so that little more than one tensor is in memory.

`sources` reads, `plans` says which tensors are written where, `merging` and `converting` make plans, `renaming` knows
latent-diffusion's and diffusers' names, `writing` writes a plan, `job` is all of it as events.
"""

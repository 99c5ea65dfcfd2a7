"""MDLM-DiT: masked discrete diffusion over action plans."""

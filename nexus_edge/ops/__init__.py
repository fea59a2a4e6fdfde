"""The few torch custom ops that must survive `torch.export` whole, each with its reference numerics."""

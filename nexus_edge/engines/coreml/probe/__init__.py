"""What the parity ladder sees of this engine: graphs run whole, in parts, and layer by layer."""

"""The appliance on a real Docker engine: the real images and the real compose.yaml, driven through its published port."""

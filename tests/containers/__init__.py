"""The appliance on a real Docker engine: its real images and compose.yaml, driven through the published port."""

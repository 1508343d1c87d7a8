"""The appliance: what `python -m ops up` and its siblings do with Docker, and what the images are made with."""

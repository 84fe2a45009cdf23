"""Image backbones: vision transformers and convolutional networks."""

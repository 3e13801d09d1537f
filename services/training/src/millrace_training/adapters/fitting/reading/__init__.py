"""What a fit learns from: a dataset's rows, the signature that they give, the encoders by which it reads free text."""

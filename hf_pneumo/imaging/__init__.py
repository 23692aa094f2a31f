"""Pixels: any X-ray file becomes one grey image, the image a tensor."""

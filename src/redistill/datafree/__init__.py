"""Data-free distillation of image classifiers (CMI, arXiv 2105.08584): a trained classifier is inverted into images, and a student learns from them."""

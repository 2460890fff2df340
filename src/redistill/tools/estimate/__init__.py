"""Tool `plan`: what a recipe will cost before any GPU hour."""

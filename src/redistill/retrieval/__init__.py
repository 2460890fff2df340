"""Search over a collection of documents: what lies there, who is asked, how a ranking is scored, and the index that stays as it is."""

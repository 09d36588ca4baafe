"""`orrery init`: from a person's data to a project file. A module of this folder is a kind of
source: it has `SUFFIXES` or `recognises`, and `draft`."""

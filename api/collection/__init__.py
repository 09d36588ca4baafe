"""The work of collections: planning and removing what is not kept any more, with a record."""

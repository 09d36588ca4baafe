"""ENGINE that answers: Bento packaging, the processes that serve, and the router before them."""

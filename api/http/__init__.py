"""HTTP: the middleware before every request, routes, pages and streams."""

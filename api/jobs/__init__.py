"""Jobs from the request to the callback."""

"""Finished models: taken from where they lie, brought into the form that is registered, and from
there on proven and served like those that were trained here."""

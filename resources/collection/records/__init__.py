"""What collections have planned and removed, kept in the control database."""

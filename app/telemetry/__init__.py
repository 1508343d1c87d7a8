"""What the server says of itself: logs now; metrics and traces in their own modules."""

"""WHO NEXT: jobs from order to end, what they cost, how long they take, whom to tell."""

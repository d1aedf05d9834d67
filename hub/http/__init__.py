"""Around every answer: deadlines, request ids, security headers, problems, health, the API's documents."""

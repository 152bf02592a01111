"""From arrival to destination."""

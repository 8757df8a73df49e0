"""Does with docker what the documentation says: builds, starts, stops, watches, and takes all of it away."""

"""Robots and where they are sent: task texts read as sites, and sites drawn as pictures."""

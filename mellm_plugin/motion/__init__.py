"""Onset and apex frame to motion map, the heart of MELLM."""

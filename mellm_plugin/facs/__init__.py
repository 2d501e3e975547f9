"""The language of faces: action units, their codes, emotion labels."""

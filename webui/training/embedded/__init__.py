"""The making of the model that ships: its pictures, words, scenes, networks in a row, and its report."""

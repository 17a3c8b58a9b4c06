"""The gallery: an index of the pictures in the outputs folder, with search, stars, collections and a trash.

The files are the truth about pictures; what people said about them (stars, collections, what is in the trash) is kept
apart from the index, by the pictures' contents, so that the index may be lost and made again. Knows no HTTP.
"""

from webui.gallery.gallery import Entry, Gallery
from webui.gallery.search import SORTS, Query

__all__ = ["SORTS", "Entry", "Gallery", "Query"]

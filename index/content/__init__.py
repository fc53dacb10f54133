"""Content stores: the files of images behind `index.interfaces.ContentStore`. A directory is the one there is."""

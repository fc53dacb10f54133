"""Content stores: the files of images behind `index.interfaces.ContentStore`. A directory, and S3."""

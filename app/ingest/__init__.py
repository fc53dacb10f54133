"""From files of clients and folders to stored images."""

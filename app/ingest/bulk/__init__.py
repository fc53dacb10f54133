"""Bulk embedding on Ray: the ordinary ingestion, run by many workers that share one library through the driver."""

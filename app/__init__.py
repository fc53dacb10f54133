"""The service around the joint space: HTTP, settings, query expressions, and one `Service` behind them all.

The top layer: `app` uses `model` (pixels and words to vectors) and `index` (vectors and records), never the
other way round. Start with `app.main.create_app` for HTTP and `app.service.Service` for everything else.
"""

from model import threads

threads.limit_libraries()  # before numpy and FAISS are loaded: they look once

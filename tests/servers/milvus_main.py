"""Runs a Milvus server with all that it stores in a folder, until standard input ends; `port N` on standard output.

For the Python of an environment with the package `milvus`, which has nothing of Visem.
"""

import sys

from milvus import MilvusServer

server = MilvusServer(wait_for_started=True)
server.set_base_dir(sys.argv[1])
server.show_startup_banner = False
server.start()
try:
    sys.stdout.write(f"port {server.listen_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
finally:
    server.stop()

"""Runs a Milvus server with all that it stores in a folder, on a port if one is given, until standard input ends.

`port N` and `pid N` on standard output. For the Python of an environment with the package `milvus`, which has nothing
of Visem.
"""

import sys

from milvus import MilvusServer

ATTEMPTS = 3
LONGEST = 60_000  # milliseconds; it starts in 3 to 10 s

folder, *port = sys.argv[1:]
for attempt in range(ATTEMPTS):
    server = MilvusServer(wait_for_started=False, **({"proxy_port": int(port[0])} if port else {}))
    server.set_base_dir(folder)
    server.show_startup_banner = False
    server.start()
    try:
        server.wait_started(LONGEST)
        break
    except (TimeoutError, RuntimeError):  # somebody took one of its ports after it had looked for free ones
        server.stop()
        if attempt == ATTEMPTS - 1:
            raise
try:
    sys.stdout.write(f"pid {server.server_proc.pid}\nport {server.listen_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
finally:
    server.stop()

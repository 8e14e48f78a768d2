"""Starts the database server with room for every function's connections.

Its command line has no option for the most connections, of which it takes 1,000:
each function's execution environment holds two to five.
"""

import functools
import sys

from secantus import cli
from secantus.server import SecantusDBServer

MOST_CONNECTIONS = 4000

cli.SecantusDBServer = functools.partial(SecantusDBServer, max_connections=MOST_CONNECTIONS)
sys.exit(cli.main([*sys.argv[1:], "--session-max", str(MOST_CONNECTIONS + 500)]))

"""Starts the database server with what its command line has no option for.

- Room for every function's connections: it takes 1,000, and each function's
  execution environment holds two to five.
- Threads that take turns often: those that answer share one interpreter, and with
  the usual 5 ms a transaction waits for others at each of its commands.
- Privileges that are remembered until a role changes: it reads and searches the
  role anew for each command, and that of the functions names each tenant's
  databases, which are hundreds after a test run.
- Threads that let go of what they read. The one that deletes what has expired, and
  the one that starts the server, kept a view of the data while they waited; the
  storage engine keeps what every such view may still see, and where much is written
  it then has no room, so that each write waits for seconds.
- The shorter ways of `database_shortcuts.py`.
"""

import functools
import sys

from secantus import cli, commands
from secantus.server import SecantusDBServer
from secantus.storage import Storage

import database_shortcuts

MOST_CONNECTIONS = 4000
TURN_S = 0.0005


class Privileges:
    """What `check_privilege` said, for as long as no role changes."""

    def __init__(self, check):
        self._check = check
        self._known = {}

    def check(self, roles, action, *, target_db=None, cluster=False, role_resolver=None):
        # What is being found out while a role changes is kept where nobody looks
        # any more.
        known = self._known
        key = (tuple((role.get("db"), role.get("role")) for role in roles), action, target_db, cluster)
        if key not in known:
            known[key] = self._check(
                roles, action, target_db=target_db, cluster=cluster, role_resolver=role_resolver
            )
        return known[key]

    def forgetting(self, change):
        """The method `change` of the storage, after which nothing is known."""

        @functools.wraps(change)
        def changed(*arguments, **options):
            try:
                return change(*arguments, **options)
            finally:
                self._known = {}

        return changed


privileges = Privileges(commands.check_privilege)
commands.check_privilege = privileges.check
Storage.add_role = privileges.forgetting(Storage.add_role)
Storage.drop_role = privileges.forgetting(Storage.drop_role)
database_shortcuts.install()


def letting_go(read, storage_of):
    """The method `read`, after which its thread sees nothing any more."""

    @functools.wraps(read)
    def done(self, *arguments, **options):
        try:
            return read(self, *arguments, **options)
        finally:
            storage_of(self).release_thread_snapshot()

    return done


Storage.prune_ttl_all_collections = letting_go(Storage.prune_ttl_all_collections, lambda storage: storage)
SecantusDBServer.start = letting_go(SecantusDBServer.start, lambda server: server.storage)
sys.setswitchinterval(TURN_S)
cli.SecantusDBServer = functools.partial(SecantusDBServer, max_connections=MOST_CONNECTIONS)
sys.exit(cli.main([*sys.argv[1:], "--session-max", str(MOST_CONNECTIONS + 500)]))

"""The database's roles and users.

The application's user holds no right on a tenant's databases until the
provisioner grants them, one tenant at a time.
"""

from pymongo import MongoClient
from pymongo.errors import OperationFailure

import daemons
from settings import MONGODB_PORT, mongodb_uri

CONTROL = "keystone_control"

_DEFINE = ["createCollection", "collMod", "createIndex", "listCollections", "listIndexes"]
_READ_WRITE = ["find", "insert", "update", "remove"]
# Tenants' databases are not known beforehand, so a privilege names any database.
_ANY = {"db": "", "collection": ""}

ROLES = {
    "keystoneApp": [
        {"resource": {"db": CONTROL, "collection": ""}, "actions": ["find"]},
    ],
    "keystoneProvisioner": [
        {"resource": {"db": CONTROL, "collection": ""}, "actions": _DEFINE + _READ_WRITE},
        {"resource": _ANY, "actions": _DEFINE + ["find", "insert", "update"]},
        {"resource": {"db": "admin", "collection": ""}, "actions": ["grantRole", "viewRole"]},
    ],
    "keystoneKeeper": [
        {"resource": {"db": CONTROL, "collection": ""}, "actions": ["find", "update"]},
        {"resource": _ANY, "actions": ["find", "insert", "update"]},
    ],
    "keystoneCloser": [
        {"resource": {"db": CONTROL, "collection": ""}, "actions": ["find", "update"]},
        {"resource": _ANY, "actions": ["find", "insert", "update", "dropDatabase"]},
    ],
}

USERS = {
    "keystone_app": "keystoneApp",
    "keystone_provisioner": "keystoneProvisioner",
    "keystone_keeper": "keystoneKeeper",
    "keystone_closer": "keystoneCloser",
}


def start(passwords: dict[str, str]) -> None:
    """Starts the database with its roles and users in place."""
    if daemons.database().pid() is None and not _marker().exists():
        _create_admin(passwords["keystone_admin"])
    daemons.database().start()
    with MongoClient(mongodb_uri("keystone_admin", passwords["keystone_admin"])) as client:
        for role, privileges in ROLES.items():
            _ensure(client, "createRole", role, privileges=privileges, roles=[])
        for user, role in USERS.items():
            _ensure(client, "createUser", user, pwd=passwords[user], roles=[{"role": role, "db": "admin"}],
                    mechanisms=["SCRAM-SHA-256"])


def _marker():
    return daemons.settings.DATABASE_STATE / "has-admin"


def _create_admin(password: str) -> None:
    """The first user can only be made while the server asks for none."""
    server = daemons.database(authenticate=False)
    server.start()
    try:
        with MongoClient("127.0.0.1", MONGODB_PORT, directConnection=True) as client:
            _ensure(client, "createUser", "keystone_admin", pwd=password, roles=[{"role": "root", "db": "admin"}],
                    mechanisms=["SCRAM-SHA-256"])
    finally:
        server.stop()
    _marker().touch()


def _ensure(client: MongoClient, command: str, name: str, **arguments) -> None:
    try:
        client.admin.command(command, name, **arguments)
    except OperationFailure as failure:
        if failure.code not in (51002, 51003):  # role exists, user exists
            raise

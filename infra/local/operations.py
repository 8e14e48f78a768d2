"""The verbs of stack.py. Runs in the emulator's environment, which has boto3,
pymongo and cryptography."""

import json
import os
import secrets
import shutil
import subprocess
import time

import certificate
import daemons
import database
import deployment
import functions
import settings
from console import Stop, step
from settings import CREDENTIALS, DATABASE_STATE, DEPLOYED, EMULATOR_STATE, ROOT, STACK_ENV, STACK_NAME

DATABASE_USERS = ("keystone_admin", *database.USERS)


def up(_arguments: list[str]) -> int:
    """Starts the servers, deploys what changed and writes stack.env."""
    started = time.monotonic()
    credentials = _credentials()
    aws = deployment.Aws(credentials["operator"])
    # Before the build, which takes minutes the first time.
    for server in _servers(credentials):
        server.require_port()
    functions.build()
    _start_servers(credentials)
    if DEPLOYED.exists() and deployment.stack_status(aws) is None:
        print("The emulator was ended before it could save its state; local data starts afresh.")
        _stop_servers()
        _delete_data()
        _start_servers(credentials)
    deployment.deploy(aws)
    uris = {user: settings.mongodb_uri(user, credentials["mongodb"][user]) for user in DATABASE_USERS}
    deployment.fill_secrets(aws, uris)
    deployment.prepare_tenants(aws)
    _write_stack_env(aws, uris)
    print(f"The stack is up ({time.monotonic() - started:.0f} s). Its addresses: {STACK_ENV.relative_to(ROOT)}")
    return 0


def demo(arguments: list[str]) -> int:
    """Brings the stack up and adds the demonstration tenants."""
    up(arguments)
    import demo as demonstration

    return demonstration.main()


def down(_arguments: list[str]) -> int:
    """Stops the servers; they save their state."""
    _stop_servers()
    print("The stack is stopped.")
    return 0


def reset(arguments: list[str]) -> int:
    """Stops the servers and deletes their data."""
    down(arguments)
    _delete_data()
    print("Its data is deleted; tools and builds stay.")
    return 0


def status(_arguments: list[str]) -> int:
    """Says what runs; exit code 1 when the stack is not up."""
    running = True
    for server in _servers(_credentials()):
        pid = server.pid()
        running &= pid is not None
        print(f"{server.name}: {f'runs as process {pid} on port {server.port}' if pid else 'stopped'}")
    return 0 if running else 1


def logs(arguments: list[str]) -> int:
    """Prints the last log events of one function, or of all, oldest first."""
    for name in arguments:
        if name not in functions.names():
            raise Stop(f"there is no function {name}; they are {', '.join(functions.names())}.")
    client = deployment.Aws(_credentials()["operator"]).client("logs")
    group = f"/aws/lambda/{STACK_NAME}"
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=group, orderBy="LastEventTime", descending=True, PaginationConfig={"MaxItems": 1000}
    )
    printed = []
    marks = [mark for name in arguments for mark in (f'"{name}"', f'"{STACK_NAME}-{name}"')]
    # A stream is an invocation here; a line of ours in it names the route or job.
    for stream in pages.search("logStreams[]"):
        events = client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        text = [event["message"].rstrip() for event in events]
        if not arguments or any(mark in line for line in text for mark in marks):
            printed.append(text)
        if len(printed) == 100:
            break
    for text in reversed(printed):
        print("\n".join(text))
    return 0


def test(arguments: list[str]) -> int:
    """Runs every test against the stack."""
    import testing

    was_running = all(server.pid() for server in _servers(_credentials()))
    try:
        up([])
        return testing.run(arguments)
    finally:
        if not was_running:
            down([])


def drill(arguments: list[str]) -> int:
    """Loses the database of a fresh stack and puts it back; deletes the stack's data."""
    import drill as restore

    reset([])
    try:
        demo(arguments)
        return restore.main(_credentials())
    finally:
        reset([])


def _servers(credentials: dict) -> list[daemons.Daemon]:
    return [daemons.emulator(credentials["operator"]), daemons.database()]


def _start_servers(credentials: dict) -> None:
    with step("starting the emulator and the database"):
        daemons.emulator(credentials["operator"]).start()
        database.start(credentials["mongodb"])


def _stop_servers() -> None:
    for server in _servers(_credentials()):
        server.stop()


def _delete_data() -> None:
    for path in (EMULATOR_STATE, DATABASE_STATE, settings.LOGS, settings.CA):
        shutil.rmtree(path, ignore_errors=True)
    for path in (DEPLOYED, STACK_ENV, settings.DEMO):
        path.unlink(missing_ok=True)


def _credentials() -> dict:
    """Random credentials of this checkout's stack, made once."""
    if not CREDENTIALS.exists():
        CREDENTIALS.touch(mode=0o600)
        CREDENTIALS.write_text(
            json.dumps(
                {
                    "operator": {
                        "access_key_id": "AKIAKEYSTONELOCAL000",
                        "secret_access_key": secrets.token_hex(20),
                    },
                    "mongodb": {user: secrets.token_hex(16) for user in DATABASE_USERS},
                },
                indent=1,
            )
        )
    credentials = json.loads(CREDENTIALS.read_text())
    # A stack that was made before a database user existed gets that user.
    for user in DATABASE_USERS:
        credentials["mongodb"].setdefault(user, secrets.token_hex(16))
    CREDENTIALS.write_text(json.dumps(credentials, indent=1))
    return credentials


def _write_stack_env(aws: deployment.Aws, uris: dict[str, str]) -> None:
    """The one file from which tests and tools learn where everything is."""
    out = deployment.outputs(aws)
    values = {
        "KEYSTONE_URL": f"{settings.AWS_ENDPOINT}/_aws/execute-api/{out['ApiId']}/{out['ApiStage']}",
        **aws.environment,
        "STACK_NAME": STACK_NAME,
        "PROVISION_TENANT_FUNCTION": f"{STACK_NAME}-provision-tenant",
        "DRAIN_OUTBOX_FUNCTION": f"{STACK_NAME}-drain-outbox",
        "MAINTAIN_KEYS_FUNCTION": f"{STACK_NAME}-maintain-keys",
        "CLOSE_TENANT_FUNCTION": f"{STACK_NAME}-close-tenant",
        "DESTROY_TENANTS_FUNCTION": f"{STACK_NAME}-destroy-tenants",
        "PREPARE_TENANTS_FUNCTION": f"{STACK_NAME}-prepare-tenants",
        "SUBJECT_KEY_TABLE": out["SubjectKeyTableName"],
        "MONGODB_ADMIN_URI": uris["keystone_admin"],
        "MONGODB_APP_URI": uris["keystone_app"],
        "MONGODB_KEEPER_URI": uris["keystone_keeper"],
        "THROTTLE_TABLE": out["ThrottleTableName"],
        "SESSION_TABLE": out["SessionTableName"],
        "ARCHIVE_BUCKET": out["ArchiveBucketName"],
        "EXPORT_BUCKET": out["ExportBucketName"],
        "EXPORT_QUEUE": out["ExportQueueUrl"],
        "BREACH_BUS": out["BreachBusName"],
        "DATA_KEY": out["DataKeyArn"],
        "REPORT_SIGNING_KEY": out["ReportSigningKeyArn"],
        "MAIL_INBOX_URL": f"{settings.AWS_ENDPOINT}/_ministack/ses/messages",
        "ROOT_CA": str(certificate.ROOT_CERTIFICATE),
        "PYHANKO": settings.venv_program("verify", "pyhanko"),
    }
    STACK_ENV.touch(mode=0o600)
    STACK_ENV.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

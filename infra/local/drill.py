"""A restore drill: the database is lost and put back to an earlier moment, and
everything else stays (infra/runbooks/atlas.md, docs/adr/0044)."""

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import daemons
import database
import demo
import deployment
import settings
from console import Stop, step

# How long something that fails is tried again, in seconds.
PATIENCE = 30
# S3 tells when something was archived to the second.
SECOND = 1.1
KEPT = settings.LOCAL / "backup"


def main(credentials: dict) -> int:
    """Runs the drill on a stack that has the demonstration, and says what it measured."""
    aws = deployment.Aws(credentials["operator"])
    people = json.loads(settings.DEMO.read_text())["people"]
    admin = next(person for person in people if person["role"] == "admin")
    stack = dict(line.split("=", 1) for line in settings.STACK_ENV.read_text().splitlines())
    before = _signed_in(stack, admin)
    _invoke(aws, "publish-checkpoints")

    with step("backing the database up, as it lies on the disk"):
        time.sleep(SECOND)
        daemons.database().stop()
        moment = _now()
        shutil.rmtree(KEPT, ignore_errors=True)
        shutil.copytree(settings.DATABASE_STATE, KEPT)
        database.start(credentials["mongodb"])
        time.sleep(SECOND)
    with step("writing what will be lost"):
        lost = _created(before, moment)
        last_write = time.time()
        signed = _invoke(aws, "publish-checkpoints")["signed"]
    with step("losing the database"):
        daemons.database().stop()
        shutil.rmtree(settings.DATABASE_STATE)

    began = time.time()
    with step("putting the backup in its place"):
        shutil.copytree(KEPT, settings.DATABASE_STATE)
        database.start(credentials["mongodb"])
        shutil.rmtree(KEPT)
    with step("telling the functions"):
        resumed = _now(1)
        told = _tell(aws, f"{moment}/{resumed}")
        # Nothing is signed until every clock is past that moment.
        time.sleep(7)
    with step("checking every trail"):
        checked = _invoke(aws, "audit-self-check")
    with step("using the service"):
        after = _signed_in(stack, admin)
        _must(after, f"/v1/customers/{lost}", 404)
        customers = _must(after, "/v1/customers?limit=1")["items"]
        _must(after, f"/v1/customers/{customers[0]['id']}")
        lots = _must(after, "/v1/batches?limit=1")["items"]
        _must(after, f"/v1/batches/{lots[0]['id']}/trace")
    in_service = time.time()
    with step("signing the trails again"):
        again = _invoke(aws, "publish-checkpoints")
        noted = _must(after, "/v1/audit?action=audit_trail.restore")["items"]
        if len(noted) != 1:
            raise Stop(f"the trail of {admin['tenant']} does not say that it was restored: {noted}")
        checked_again = _invoke(aws, "audit-self-check")

    print(f"""
The database was put back to {moment}.

time to restore     {in_service - began:.1f} s, of {told} functions told of it, {checked["trails"]} trails and {checked["entries"]} entries checked
lost writes         {last_write - _seconds(moment):.1f} s: what was written after that moment
checkpoints lost    {signed}; that of {admin["tenant"]} is on record, whose trail goes on as another generation
signed since        {again["signed"]} trails
checked once more   {checked_again["trails"]} trails, {checked_again["entries"]} entries, nothing found
""")
    return 0


def _tell(aws: deployment.Aws, restores: str) -> int:
    """Sets what a deployment with the parameter AuditRestores would set."""
    client = aws.client("lambda")
    pages = client.get_paginator("list_functions").paginate()
    told = 0
    for function in (function for page in pages for function in page["Functions"]):
        variables = function.get("Environment", {}).get("Variables", {})
        if "AUDIT_RESTORES" in variables:
            client.update_function_configuration(
                FunctionName=function["FunctionName"],
                Environment={"Variables": {**variables, "AUDIT_RESTORES": restores}},
            )
            told += 1
    if told == 0:
        raise Stop("no function of the stack knows of restores; deploy this release first.")
    return told


def _patiently(attempt: Callable[[], tuple[bool, str, Any]]) -> Any:
    """What comes of an attempt, made until it succeeds or PATIENCE is over: a function
    may find the database gone once more before it connects anew."""
    deadline = time.monotonic() + PATIENCE
    while True:
        done, said, result = attempt()
        if done:
            return result
        if time.monotonic() > deadline:
            raise Stop(said)
        time.sleep(0.5)


def _invoke(aws: deployment.Aws, function: str) -> dict:
    def attempt() -> tuple[bool, str, Any]:
        answer = aws.client("lambda").invoke(FunctionName=f"{settings.STACK_NAME}-{function}", Payload=b"{}")
        said = answer["Payload"].read().decode()
        failed = f"{function} failed: {said}; `make logs F={function}` says more."
        return not answer.get("FunctionError"), failed, json.loads(said)

    return _patiently(attempt)


def _signed_in(stack: dict, person: dict) -> demo.Client:
    client = demo.Client(stack["KEYSTONE_URL"])
    signed_in = lambda: (client.sign_in(person, lambda: None), f"{person['email']} cannot sign in.", client)
    return _patiently(signed_in)


def _created(client: demo.Client, moment: str) -> str:
    def attempt() -> tuple[bool, str, Any]:
        headers = {"Idempotency-Key": f"drill-{moment}"}
        status, body = client.send("POST", "/v1/customers", _customer(), headers)
        return status == 201, f"POST /v1/customers answered {status}: {body}", body.get("id")

    return _patiently(attempt)


def _must(client: demo.Client, path: str, status: int = 200) -> dict:
    def attempt() -> tuple[bool, str, Any]:
        found, body = client.send("GET", path, None)
        return found == status, f"GET {path} answered {found}: {body}", body

    return _patiently(attempt)


def _customer() -> dict:
    return {"name": "Written after the backup", "country": "IE", "phone": "+353861234567"}


def _now(later: int = 0) -> str:
    return datetime.fromtimestamp(int(time.time()) + later, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(moment: str) -> float:
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()

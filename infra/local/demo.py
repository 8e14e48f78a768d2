"""The demonstration: two tenants with people in every role and realistic data,
all of it made through the public API. Each creating request has an
Idempotency-Key, so that an interrupted run is continued by the next."""

import base64
import hmac
import http.client
import json
import re
import secrets
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3

import demo_data
import settings
from console import Stop, step
from demo_data import Tenant

OPERATOR = "local demonstration"

# How often the inbox is looked into for an invitation, twice a second.
MAIL_PATIENCE = 20


def main() -> int:
    stack = dict(line.split("=", 1) for line in settings.STACK_ENV.read_text().splitlines())
    _exercise(stack)
    accounts = _accounts(stack["DATA_KEY"])
    if not accounts["complete"]:
        with step("provisioning the demonstration tenants"):
            demonstration = Demonstration(stack, accounts)
            with ThreadPoolExecutor() as pool:
                # The tenants do not touch each other; within one, writes queue.
                list(pool.map(demonstration.fill, demo_data.TENANTS))
        accounts["complete"] = True
        _keep(accounts)
    _explain(stack["KEYSTONE_URL"], accounts)
    return 0


def _exercise(stack: dict) -> None:
    """Tells the canaries of a breach that is an exercise, so that the isolation
    probe has an incident to read. Doing it again does nothing."""
    breach = json.loads((settings.ROOT / "infra/canary-exercise.json").read_text())
    breach["confirmed_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    event = {
        "EventBusName": stack["BREACH_BUS"],
        "Source": "keystone.security",
        "DetailType": "BreachConfirmed",
        "Detail": json.dumps(breach),
    }
    if _client(stack, "events").put_events(Entries=[event])["FailedEntryCount"]:
        raise Stop("the exercise of the canaries was not taken; see `make logs F=notify-breach`.")


def _client(stack: dict, service: str):
    return boto3.client(
        service,
        endpoint_url=stack["AWS_ENDPOINT_URL"],
        region_name=stack["AWS_REGION"],
        aws_access_key_id=stack["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack["AWS_SECRET_ACCESS_KEY"],
    )


def _accounts(stack: str) -> dict:
    """The sign-ins of the demonstration, made once in the life of a stack, for
    which its data key stands: the address changes with a deployment."""
    if settings.DEMO.exists():
        kept = json.loads(settings.DEMO.read_text())
        if kept["stack"] == stack:
            return kept
    accounts = {
        "stack": stack,
        "complete": False,
        "people": [
            {
                "tenant": tenant.slug,
                "role": role,
                "name": name,
                "email": f"{role.replace('_', '-')}@{tenant.domain}",
                "password": f"{secrets.token_urlsafe(12)}-demo",
                "joined": False,
            }
            for tenant in demo_data.TENANTS
            for role, name in tenant.people.items()
        ],
    }
    _keep(accounts)
    return accounts


def _keep(accounts: dict) -> None:
    settings.DEMO.touch(mode=0o600)
    settings.DEMO.write_text(json.dumps(accounts, indent=1, ensure_ascii=False))


class Demonstration:
    def __init__(self, stack: dict, accounts: dict):
        self.stack = stack
        self.accounts = accounts
        self.keeping = threading.Lock()
        self.functions = _client(stack, "lambda")

    def fill(self, tenant: Tenant) -> None:
        self._provision(tenant)
        people = {person["role"]: person for person in self.accounts["people"] if person["tenant"] == tenant.slug}
        owner = self._join(tenant, people["super_admin"])
        for role, person in people.items():
            if role != "super_admin":
                invited = {key: person[key] for key in ("email", "name", "role")}
                owner.create("/v1/users", invited, key=f"user-{role}")
        clients = {role: self._join(tenant, person) for role, person in people.items() if role in ("admin", "ops_user")}
        for role in ("viewer", "demo"):
            self._join(tenant, people[role])
        admin, ops = clients["admin"], clients["ops_user"]
        products = [
            ops.create("/v1/products", demo_data.product(tenant, n), key=f"product-{n}")
            for n in range(len(tenant.products))
        ]
        suppliers = [
            admin.create("/v1/suppliers", demo_data.supplier(tenant, n), key=f"supplier-{n}")
            for n in range(len(tenant.suppliers))
        ]
        for n in range(len(tenant.customers)):
            admin.create("/v1/customers", demo_data.customer(tenant, n), key=f"customer-{n}")
        lots = [
            ops.create("/v1/batches", demo_data.lot(tenant, n, products, suppliers), key=f"lot-{n}")
            for n in range(tenant.lots)
        ]
        # Something for the audit trail to tell: lots held, one of them released.
        for at, lot in enumerate(lots[:3]):
            ops.change(f"/v1/batches/{lot}", 1, {"state": "on_hold"})
            if at == 0:
                ops.change(f"/v1/batches/{lot}", 2, {"state": "available"})

    def _provision(self, tenant: Tenant) -> None:
        owner = {"name": tenant.people["super_admin"], "email": f"super-admin@{tenant.domain}"}
        self._invoke(
            self.stack["PROVISION_TENANT_FUNCTION"],
            {
                "operator": OPERATOR,
                "tenant": tenant.slug,
                "legal_name": tenant.legal_name,
                "country": "IE",
                "contacts": {"primary": owner},
                "super_admin": owner,
            },
        )

    def _invoke(self, function: str, event: dict) -> None:
        answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event))
        if answer.get("FunctionError"):
            raise Stop(f"{function} failed: {answer['Payload'].read().decode()}; see `make logs`.")

    def _join(self, tenant: Tenant, person: dict) -> "Client":
        """Signs the person in, after accepting the invitation if it is open."""
        client = Client(self.stack["KEYSTONE_URL"])
        # Asked first, because wrong sign-ins count and would lock the address.
        if person["joined"] and client.sign_in(person, self._keep):
            return client
        tried = set()
        for _ in range(MAIL_PATIENCE):
            self._invoke(self.stack["DRAIN_OUTBOX_FUNCTION"], {})
            for token in self._tokens(tenant, person) - tried:
                tried.add(token)
                accepted = {"tenant": tenant.slug, "token": token, "password": person["password"]}
                if client.send("POST", "/v1/invitations/accept", accepted)[0] == 204:
                    person["joined"] = True
                    self._keep()
                    client.sign_in(person, self._keep)
                    return client
            # Another run of the function may be sending the mail right now.
            time.sleep(0.5)
        raise Stop(f"{person['email']} cannot sign in; `make reset` and `make run` start afresh.")

    def _keep(self) -> None:
        with self.keeping:
            _keep(self.accounts)

    def _tokens(self, tenant: Tenant, person: dict) -> set[str]:
        """The tokens in the invitations that the person was sent."""
        with urllib.request.urlopen(self.stack["MAIL_INBOX_URL"]) as answer:
            accounts = json.load(answer)["messages"].values()
        mails = (mail for mails in accounts for mail in mails if person["email"] in mail["To"])
        link = re.compile(rf"/invitations/{tenant.slug}#token=([0-9a-f]+)")
        return {token for mail in mails for token in link.findall(mail["BodyText"])}


def _fresh_code(person: dict, keep: Callable[[], None]) -> str:
    """A code (RFC 6238) of the person's app that was not used before."""
    step_used = max(person.get("totp_step", 0) + 1, int(time.time()) // 30)
    # The code of the step to come is accepted as well.
    while step_used > int(time.time()) // 30 + 1:
        time.sleep(0.5)
    person["totp_step"] = step_used
    keep()
    key = base64.b32decode(person["totp_secret"] + "=" * (-len(person["totp_secret"]) % 8))
    mac = hmac.digest(key, step_used.to_bytes(8, "big"), "sha1")
    word = int.from_bytes(mac[mac[19] & 15 :][:4], "big") & 0x7FFFFFFF
    return f"{word % 1_000_000:06}"


class Client:
    """One person's connection to the API."""

    def __init__(self, url: str):
        self.base = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(self.base.netloc, timeout=30)
        self.token = ""

    def sign_in(self, person: dict, keep: Callable[[], None]) -> bool:
        """Signs in, with the second factor where one is asked for; sets one up
        where one is required. `keep` stores what changed of the person."""
        details = {key: person[key] for key in ("tenant", "email", "password")}
        status, body = self.send("POST", "/v1/auth/login", details)
        if status == 429:
            raise Stop("the sign-in is locked after too many attempts; wait 15 minutes or `make reset`.")
        if status != 200:
            return False
        if "mfa" in body:
            answer = {"challenge": body["mfa"]["challenge"], "code": _fresh_code(person, keep)}
            body = self._must("/v1/auth/mfa", answer)
        self.token = body["token"]
        if body.get("second_factor_required"):
            person["totp_secret"] = self._must("/v1/mfa/totp", {"password": person["password"]})["secret"]
            body = self._must("/v1/mfa/totp/activate", {"code": _fresh_code(person, keep)})
            self.token = body["session"]["token"]
        return True

    def _must(self, path: str, body: dict) -> dict:
        status, answer = self.send("POST", path, body)
        if status != 200:
            raise Stop(f"POST {path} answered {status}: {answer}")
        return answer

    def create(self, path: str, body: dict, key: str) -> str:
        status, answer = self.send("POST", path, body, {"Idempotency-Key": f"demo-{key}"})
        if status != 201:
            raise Stop(f"POST {path} answered {status}: {answer}")
        return answer["id"]

    def change(self, path: str, version: int, body: dict) -> None:
        """Changes what has this version; a later one was changed before."""
        status, answer = self.send("PATCH", path, body, {"If-Match": f'"{version}"'})
        if status not in (200, 412):
            raise Stop(f"PATCH {path} answered {status}: {answer}")

    def send(self, method: str, path: str, body: dict | None, headers: dict | None = None) -> tuple[int, dict]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body)
        self.connection.request(method, self.base.path + path, content, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else {}


def _explain(url: str, accounts: dict) -> None:
    people = accounts["people"]
    columns = ("tenant", "role", "email", "password")
    widths = {column: max(len(column), *(len(person[column]) for person in people)) for column in columns}
    line = "  ".join(f"{{{column}:{widths[column]}}}" for column in columns)
    admin = next(person for person in people if person["role"] == "admin")
    details = json.dumps({key: admin[key] for key in ("tenant", "email", "password")})
    print(f"\nKeystone answers at {url}\n")
    print(line.format(**{column: column for column in columns}).rstrip())
    for person in people:
        print(line.format(**{column: person[column] for column in columns}).rstrip())
    print("\nA super_admin signs in with a second factor. For an authenticator app, the secrets are:\n")
    for person in people:
        if "totp_secret" in person:
            print(f"{person['email']}  {person['totp_secret']}")
    print(f"""
Try it:

  TOKEN=$(curl -s {url}/v1/auth/login -H 'Content-Type: application/json' -d '{details}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -s {url}/v1/suppliers?limit=2 -H "Authorization: Bearer $TOKEN"
  curl -s '{url}/v1/audit?action=batch.update&limit=2' -H "Authorization: Bearer $TOKEN"

`make stop` ends the stack and keeps its data, `make reset` deletes it.""")

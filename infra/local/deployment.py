"""Deploys template.yaml to the emulator with the SAM CLI and fills in what an
operator fills in after a first deployment."""

import hashlib
import io
import json
import os
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import certificate
import emulator_gaps
import functions
import settings
from console import Stop, step
from settings import DEPLOYED, LAMBDA_DIR, REGION, ROOT, SAMCONFIG, STACK_NAME, TEMPLATE


class Aws:
    """Clients for the emulator in the operator's name."""

    def __init__(self, operator: dict[str, str]):
        self.environment = {
            "AWS_ENDPOINT_URL": settings.AWS_ENDPOINT,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": operator["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": operator["secret_access_key"],
        }
        self._session = boto3.Session(
            aws_access_key_id=operator["access_key_id"],
            aws_secret_access_key=operator["secret_access_key"],
            region_name=REGION,
        )

    def client(self, service: str):
        return self._session.client(
            service,
            endpoint_url=settings.AWS_ENDPOINT,
            config=Config(read_timeout=120, retries={"max_attempts": 2}),
        )


def stack_status(aws: Aws) -> str | None:
    """CloudFormation's word for the state of the stack, or None when there is none."""
    try:
        return aws.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise


def outputs(aws: Aws) -> dict[str, str]:
    stack = aws.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def deploy(aws: Aws) -> None:
    """Brings the stack to what the template and the built functions say, doing no more than that takes."""
    template = _sha256(TEMPLATE.read_bytes() + SAMCONFIG.read_bytes())
    built = {name: _sha256((LAMBDA_DIR / name / "bootstrap").read_bytes()) for name in functions.names()}
    current = json.loads(DEPLOYED.read_text()) if DEPLOYED.exists() and stack_status(aws) else {}
    if current.get("template") != template:
        _deploy_stack(aws)
    else:
        # An emulator that was killed has forgotten what came after its last
        # clean stop, so what it holds counts, not what it was once given.
        held = _code(aws)
        before = current.get("functions", {})
        changed = [name for name, sha in built.items() if before.get(name) != {"built": sha, "held": held.get(name)}]
        if changed:
            _update_code(aws, changed)
    held = _code(aws)
    deployed = {name: {"built": sha, "held": held[name]} for name, sha in built.items()}
    DEPLOYED.write_text(json.dumps({"template": template, "functions": deployed}, indent=1))


def _code(aws: Aws) -> dict[str, str]:
    """SHA-256 of each function's package as the emulator holds it."""
    pages = aws.client("lambda").get_paginator("list_functions").paginate()
    found = {function["FunctionName"]: function["CodeSha256"] for page in pages for function in page["Functions"]}
    prefix = f"{STACK_NAME}-"
    return {name.removeprefix(prefix): code for name, code in found.items() if name.startswith(prefix)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _deploy_stack(aws: Aws) -> None:
    sam = settings.venv_program("sam", "sam")
    environment = {
        **os.environ,
        **aws.environment,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(settings.LOCAL / "sam"),
    }
    for title, command in (
        ("sam build", [sam, "build", "--config-env", "local"]),
        ("sam deploy", [sam, "deploy", "--config-env", "local", "--no-progressbar"]),
    ):
        with step(title):
            run = subprocess.run(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            if run.returncode != 0:
                print(run.stdout[-4000:])
                raise Stop(f"{title} failed; its last words stand above. `make reset` starts from nothing.")
    emulator_gaps.fill(aws, STACK_NAME)


def _update_code(aws: Aws, names: list[str]) -> None:
    client = aws.client("lambda")

    def update(name: str) -> None:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(LAMBDA_DIR / name / "bootstrap", "bootstrap")
        client.update_function_code(FunctionName=f"{STACK_NAME}-{name}", ZipFile=package.getvalue())

    with step(f"updating {len(names)} changed function(s)"), ThreadPoolExecutor(4) as pool:
        list(pool.map(update, names))


def fill_secrets(aws: Aws, uris: dict[str, str]) -> None:
    """Stores the database's addresses and the report key's certificate, once."""
    out = outputs(aws)
    secrets = aws.client("secretsmanager")
    _put_if_changed(secrets, out["MongodbAppSecretArn"], {"uri": uris["keystone_app"]})
    _put_if_changed(secrets, out["MongodbProvisionerSecretArn"], {"uri": uris["keystone_provisioner"]})
    _put_if_changed(secrets, out["MongodbKeeperSecretArn"], {"uri": uris["keystone_keeper"]})
    _put_if_changed(secrets, out["MongodbCloserSecretArn"], {"uri": uris["keystone_closer"]})
    public_key = aws.client("kms").get_public_key(KeyId=out["ReportSigningKeyArn"])["PublicKey"]
    chain = (_value(secrets, out["ReportCertificateSecretArn"]) or {}).get("chain")
    if not certificate.serves(chain, public_key):
        _put_if_changed(secrets, out["ReportCertificateSecretArn"], {"chain": certificate.issue(public_key)})


def prepare_tenants(aws: Aws) -> None:
    """Gives the tenants of an earlier release what this one stores and indexes."""
    answer = aws.client("lambda").invoke(FunctionName=f"{STACK_NAME}-prepare-tenants", Payload=b"{}")
    if "FunctionError" in answer:
        print(answer["Payload"].read().decode())
        raise Stop("the tenants could not be prepared for this release; `make logs F=prepare-tenants` says why.")


def _value(secrets, arn: str) -> dict | None:
    try:
        text = secrets.get_secret_value(SecretId=arn).get("SecretString")
    except secrets.exceptions.ResourceNotFoundException:  # no value yet
        return None
    return json.loads(text) if text else None


def _put_if_changed(secrets, arn: str, value: dict) -> None:
    if _value(secrets, arn) != value:
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(value))

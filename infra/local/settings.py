"""Where the local stack keeps things, and which ports it takes."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"

VENVS = LOCAL / "venvs"
LOGS = LOCAL / "logs"
CREDENTIALS = LOCAL / "credentials.json"
STACK_ENV = LOCAL / "stack.env"
DEPLOYED = LOCAL / "deployed.json"
DEMO = LOCAL / "demo.json"
CA = LOCAL / "ca"
EMULATOR_STATE = LOCAL / "emulator"
DATABASE_STATE = LOCAL / "mongo"

TEMPLATE = ROOT / "template.yaml"
SAMCONFIG = ROOT / "samconfig.toml"
LAMBDA_DIR = ROOT / "target" / "lambda"

REGION = "eu-west-1"
STACK_NAME = "keystone-local"
MAIL_DOMAIN = "keystone.example"

AWS_PORT_VARIABLE = "KEYSTONE_AWS_PORT"
MONGODB_PORT_VARIABLE = "KEYSTONE_MONGODB_PORT"
AWS_PORT = int(os.environ.get(AWS_PORT_VARIABLE, "4566"))
MONGODB_PORT = int(os.environ.get(MONGODB_PORT_VARIABLE, "27117"))

AWS_ENDPOINT = f"http://127.0.0.1:{AWS_PORT}"


def venv_program(venv: str, program: str) -> str:
    return str(VENVS / venv / "bin" / program)


def mongodb_uri(user: str, password: str) -> str:
    return f"mongodb://{user}:{password}@127.0.0.1:{MONGODB_PORT}/?replicaSet=secantus"

"""Counts the resources of `template.yaml` after SAM's transformation: a stack of
CloudFormation has at most 500 (docs/adr/0043).

Runs in the emulator's environment, which has the transformation."""

import sys

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

MOST = 500


def main() -> int:
    with open("template.yaml", encoding="utf-8") as file:
        template = yaml_parse(file.read())
    # Where the code lies is known only when it was built.
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    parameters = {name: given.get("Default", "x") for name, given in template["Parameters"].items()}
    translator = Translator({}, Parser(), [], boto3.Session(region_name="eu-west-1"))
    count = len(translator.translate(template, parameters)["Resources"])
    print(f"   {count} of at most {MOST} resources")
    if count > MOST:
        print("keystone: template.yaml makes more resources than a stack may have; split it.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

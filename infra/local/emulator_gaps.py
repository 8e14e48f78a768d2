"""What the template says and the emulator's CloudFormation leaves out.

It is read from the deployed template, so that the template needs no line for
the emulator's sake:

- gateway responses, which SAM writes as OpenAPI extensions;
- permissions boundaries of roles;
- of tables: expiry of items, point-in-time recovery, encryption by our key, and deletion
  protection, which it stores as text; of the archive: the object lock;
- encryption of buckets by our key;
- where a function leaves the events that it failed at for good;
- names under execute-api, so whoever calls the API itself gets its address here.

Two things are wider than on AWS: the emulator authorises SendEmail against
every resource instead of the sending identity, so the role that sends mail
gets that right here, and no boundary; and nobody speaks TLS to it, so the
buckets lose the policies that ask for TLS and for nothing else.
"""

import json


def fill(aws, stack: str) -> None:
    cloudformation = aws.client("cloudformation")
    template = cloudformation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    # What a Ref in the template stands for.
    parameters = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]
    resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    refs = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in parameters}
    refs |= {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    # Kind by kind: a stage is deployed with the gateway responses that stand
    # then, wherever the template names it.
    for kind, fill_one in _FILL.items():
        for name, resource in template["Resources"].items():
            if resource["Type"] == kind and name in refs:
                fill_one(aws, refs, name, resource["Properties"])
    _let_the_mailer_send(aws.client("iam"), refs["DrainOutboxFunctionRole"])


def _rest_api(aws, refs: dict, name: str, properties: dict) -> None:
    client = aws.client("apigateway")
    for kind, response in properties["Body"]["x-amazon-apigateway-gateway-responses"].items():
        client.put_gateway_response(restApiId=refs[name], responseType=kind, **response)


def _stage(aws, refs: dict, _name: str, properties: dict) -> None:
    """Deploys the API again: a gateway response takes effect with the next deployment."""
    aws.client("apigateway").create_deployment(
        restApiId=refs[properties["RestApiId"]["Ref"]], stageName=properties["StageName"]
    )


def _role(aws, refs: dict, name: str, properties: dict) -> None:
    if boundary := properties.get("PermissionsBoundary"):
        aws.client("iam").put_role_permissions_boundary(
            RoleName=refs[name], PermissionsBoundary=refs[boundary["Ref"]]
        )


def _table(aws, refs: dict, name: str, properties: dict) -> None:
    client = aws.client("dynamodb")
    recovery = {"PointInTimeRecoveryEnabled": properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]}
    client.update_continuous_backups(TableName=refs[name], PointInTimeRecoverySpecification=recovery)
    key = refs[properties["SSESpecification"]["KMSMasterKeyId"]["Ref"]]
    sse = {"Enabled": True, "SSEType": properties["SSESpecification"]["SSEType"], "KMSMasterKeyId": key}
    protected = refs[properties["DeletionProtectionEnabled"]["Ref"]] == "true"
    client.update_table(TableName=refs[name], SSESpecification=sse, DeletionProtectionEnabled=protected)
    if (wanted := properties.get("TimeToLiveSpecification")) is None:
        return
    current = client.describe_time_to_live(TableName=refs[name])["TimeToLiveDescription"]
    if current.get("AttributeName") != wanted["AttributeName"]:
        client.update_time_to_live(TableName=refs[name], TimeToLiveSpecification=wanted)


def _bucket(aws, refs: dict, name: str, properties: dict) -> None:
    algorithm = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    default = {"SSEAlgorithm": algorithm["SSEAlgorithm"], "KMSMasterKeyID": refs[algorithm["KMSMasterKeyID"]["Fn::GetAtt"][0]]}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    aws.client("s3").put_bucket_encryption(Bucket=refs[name], ServerSideEncryptionConfiguration={"Rules": [rule]})
    if (lock := properties.get("ObjectLockConfiguration")) is None:
        return
    retention = lock["Rule"]["DefaultRetention"]
    retention["Days"] = int(refs[retention["Days"]["Ref"]])
    aws.client("s3").put_object_lock_configuration(Bucket=refs[name], ObjectLockConfiguration=lock)


def _bucket_policy(aws, refs: dict, name: str, properties: dict) -> None:
    # The emulator speaks plain HTTP, and knows no condition on if-none-match.
    statements = properties["PolicyDocument"]["Statement"]
    if "TlsOnly" in [statement["Sid"] for statement in statements]:
        aws.client("s3").delete_bucket_policy(Bucket=refs[properties["Bucket"]["Ref"]])


def _function(aws, refs: dict, name: str, properties: dict) -> None:
    client = aws.client("lambda")
    changes = {}
    if (dead_letters := properties.get("DeadLetterConfig")) is not None:
        queue = refs[dead_letters["TargetArn"]["Fn::GetAtt"][0]]
        found = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        changes["DeadLetterConfig"] = {"TargetArn": found["Attributes"]["QueueArn"]}
    if "API_URL" in properties.get("Environment", {}).get("Variables", {}):
        current = client.get_function_configuration(FunctionName=refs[name])["Environment"]["Variables"]
        endpoint = aws.environment["AWS_ENDPOINT_URL"]
        current["API_URL"] = f"{endpoint}/_aws/execute-api/{refs['Api']}/live"
        changes["Environment"] = {"Variables": current}
    if changes:
        client.update_function_configuration(FunctionName=refs[name], **changes)


def _let_the_mailer_send(iam, role: str) -> None:
    send = {"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [send]})
    iam.put_role_policy(RoleName=role, PolicyName="emulator-ses", PolicyDocument=policy)
    iam.delete_role_permissions_boundary(RoleName=role)


_FILL = {
    "AWS::ApiGateway::RestApi": _rest_api,
    "AWS::ApiGateway::Stage": _stage,
    "AWS::IAM::Role": _role,
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::Lambda::Function": _function,
}

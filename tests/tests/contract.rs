//! Code, template, API document and binaries say the same thing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use keystone_tests::{openapi, routes, stack};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

/// A route: name of the function, method, path.
type Route = (String, String, String);

/// `template.yaml`, with short intrinsics in their long form.
fn template() -> Value {
    read("template.yaml")
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(stack::root().join(path)).unwrap();
    long_form(serde_yaml_ng::from_str(&text).unwrap())
}

fn long_form(value: Yaml) -> Value {
    match value {
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let name = name.trim_start_matches('!');
            let name = if name == "Ref" { name.into() } else { format!("Fn::{name}") };
            json!({ name: long_form(tagged.value) })
        }
        Yaml::Sequence(items) => items.into_iter().map(long_form).collect(),
        Yaml::Mapping(members) => members
            .into_iter()
            .map(|(name, member)| (name.as_str().unwrap().to_owned(), long_form(member)))
            .collect::<Map<_, _>>()
            .into(),
        scalar => serde_json::to_value(scalar).unwrap(),
    }
}

fn resources(template: &Value, kind: &str) -> BTreeMap<String, Value> {
    template["Resources"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.clone(), resource["Properties"].clone()))
        .collect()
}

/// The name under which a function's code is built.
fn binary_of(function: &Value) -> String {
    let code = function["CodeUri"].as_str().unwrap();
    code.trim_start_matches("target/lambda/").trim_end_matches('/').to_owned()
}

fn routes_in_code() -> BTreeSet<Route> {
    routes::all()
        .iter()
        .map(|listed| {
            let spec = listed.spec;
            (spec.name.into(), spec.method.as_str().into(), spec.path.into())
        })
        .collect()
}

/// The one resource of this type and what it is made of.
fn only(template: &Value, kind: &str) -> (String, Value) {
    let mut found = resources(template, kind).into_iter();
    let one = found.next().unwrap();
    assert!(found.next().is_none(), "several of {kind}");
    one
}

#[test]
fn the_cluster_is_defined_as_the_page_says() {
    let atlas = read("infra/atlas/template.yaml");
    let (_, cluster) = only(&atlas, "MongoDB::Atlas::Cluster");
    let regions: Vec<(&Value, &Value)> = cluster["ReplicationSpecs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|spec| spec["AdvancedRegionConfigs"].as_array().unwrap())
        .map(|region| (&region["ProviderName"], &region["RegionName"]))
        .collect();
    assert_eq!(regions, [(&json!("AWS"), &json!("EU_WEST_1"))]);
    for kept in ["BackupEnabled", "PitEnabled", "TerminationProtectionEnabled"] {
        assert_eq!(cluster[kept], true, "{kept}");
    }
    assert_eq!(cluster["AdvancedSettings"]["JavascriptEnabled"], false);
    assert_eq!(cluster["AdvancedSettings"]["TransactionLifetimeLimitSeconds"], 3);

    let (_, schedule) = only(&atlas, "MongoDB::Atlas::CloudBackupSchedule");
    assert_eq!(schedule["RestoreWindowDays"], 30);
    assert_eq!(schedule["AutoExportEnabled"], false);
    assert!(schedule.get("CopySettings").is_none(), "no copy leaves the region");

    // By a key of ours that is rotated, that Atlas may use and no other.
    let (key, properties) = only(&atlas, "AWS::KMS::Key");
    assert_eq!(properties["EnableKeyRotation"], true);
    let (_, encryption) = only(&atlas, "MongoDB::Atlas::EncryptionAtRest");
    assert_eq!(cluster["EncryptionAtRestProvider"], "AWS");
    assert_eq!(encryption["AwsKms"]["CustomerMasterKeyID"], json!({ "Ref": key }));
    let (_, role) = only(&atlas, "AWS::IAM::Role");
    let statements = &role["Policies"][0]["PolicyDocument"]["Statement"];
    assert_eq!(statements.as_array().unwrap().len(), 1);
    assert_eq!(statements[0]["Resource"], json!({ "Fn::GetAtt": format!("{key}.Arn") }));
}

#[test]
fn the_template_has_the_routes_of_the_code() {
    let mut found = BTreeSet::new();
    for function in resources(&template(), "AWS::Serverless::Function").values() {
        for event in events(function) {
            if event["Type"] == "Api" {
                let text = |name: &str| event["Properties"][name].as_str().unwrap().to_owned();
                found.insert((binary_of(function), text("Method"), text("Path")));
            }
        }
    }
    assert_eq!(found, routes_in_code());
}

#[test]
fn the_api_document_has_the_routes_of_the_code() {
    let document = openapi::document();
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            found.insert((name.to_owned(), method.to_uppercase(), path.clone()));
        }
    }
    assert_eq!(found, routes_in_code());
}

#[test]
fn the_api_document_is_up_to_date() {
    assert!(
        keystone_operations::routes::openapi::DOCUMENT == openapi::text(),
        "functions/operations/openapi.json is not what the code says: run `make openapi`"
    );
}

#[test]
fn the_schemas_of_events_are_up_to_date() {
    for (name, schema) in keystone_incidents::event::schemas() {
        let file = stack::root().join("docs/events").join(name);
        let kept = std::fs::read_to_string(file).unwrap();
        assert!(
            kept == format!("{schema:#}\n"),
            "{name} is not what the code says: `make openapi`"
        );
    }
}

#[test]
fn every_reference_in_the_api_document_leads_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| check(document, member));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            _ => {}
        }
    }
    let document = openapi::document();
    check(&document, &document);
}

#[test]
fn every_binary_is_a_deployed_function() {
    let template = template();
    let mut binaries = BTreeSet::new();
    for context in std::fs::read_dir(stack::root().join("functions")).unwrap() {
        for file in std::fs::read_dir(context.unwrap().path().join("src/bin")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            binaries.insert(name.trim_end_matches(".rs").to_owned());
        }
    }
    let functions = resources(&template, "AWS::Serverless::Function");
    assert_eq!(functions.values().map(binary_of).collect::<BTreeSet<_>>(), binaries);
    for (logical, function) in &functions {
        let binary = binary_of(function);
        let spelled: String = logical.trim_end_matches("Function").to_lowercase();
        assert_eq!(spelled, binary.replace('-', ""), "{logical}");
        assert_eq!(function["FunctionName"]["Fn::Sub"], format!("${{AWS::StackName}}-{binary}"));
    }
}

/// An alarm that nobody hears is none.
#[test]
fn production_does_not_deploy_unless_somebody_hears_of_alarms() {
    let template = template();
    let rule = &template["Rules"]["HeardAlarms"];
    assert_eq!(rule["RuleCondition"], json!({ "Fn::Equals": [{ "Ref": "Deployment" }, "prod"] }));
    let no_topic = json!({ "Fn::Equals": [{ "Ref": "AlarmTopicArn" }, ""] });
    assert_eq!(rule["Assertions"][0]["Assert"], json!({ "Fn::Not": [no_topic] }));
    let told = json!([{ "Ref": "AlarmTopicArn" }]);
    let told = json!({ "Fn::If": ["HasAlarmTopic", told, { "Ref": "AWS::NoValue" }] });
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    assert!(!alarms.is_empty());
    for (name, alarm) in &alarms {
        assert_eq!(alarm["AlarmActions"], told, "{name}");
    }
}

/// What invokes the function, by itself or for a client.
fn events(function: &Value) -> impl Iterator<Item = &Value> {
    function["Events"].as_object().into_iter().flat_map(Map::values)
}

fn is_scheduled(function: &Value) -> bool {
    events(function).any(|event| event["Type"] == "Schedule")
}

/// Seconds from one run to the next, as the function's schedule has it.
fn seconds_between_runs(function: &Value) -> u64 {
    let schedule = events(function).find(|event| event["Type"] == "Schedule").unwrap();
    let rate = schedule["Properties"]["Schedule"].as_str().unwrap();
    let rate = rate.strip_prefix("rate(").and_then(|rate| rate.strip_suffix(')')).unwrap();
    let (count, unit) = rate.split_once(' ').unwrap();
    let units = [("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let unit = units.into_iter().find(|(name, _)| *name == unit.trim_end_matches('s')).unwrap();
    count.parse::<u64>().unwrap() * unit.1
}

/// The longest that EventBridge tries to deliver an event, in seconds.
const LONGEST_DELIVERY: u64 = 86_400;

/// Where what a rule or a queue gives up is kept: events about breaches stand apart.
fn dead_letters_of(source: &str) -> Value {
    let queue = if source.starts_with("Breach") { "BreachDeadLetters" } else { "DeadLetters" };
    json!({ "Fn::GetAtt": format!("{queue}.Arn") })
}

/// What no client waits for is tried again, and what fails for good is kept.
#[test]
fn what_nobody_waits_for_ends_among_the_dead_letters_when_it_fails() {
    let template = template();
    let queues = resources(&template, "AWS::SQS::Queue");
    let dead_letters = json!({ "Fn::GetAtt": "DeadLetters.Arn" });
    let is_delivered = |name: &str, target: &Value, seconds: u64| {
        let retry = &target["RetryPolicy"];
        assert_eq!(retry["MaximumEventAgeInSeconds"], seconds, "{name}");
        assert!(retry["MaximumRetryAttempts"].as_u64() >= Some(1), "{name}");
        assert_eq!(target["DeadLetterConfig"], json!({ "Arn": dead_letters_of(name) }), "{name}");
    };
    for (name, rule) in resources(&template, "AWS::Events::Rule") {
        for target in rule["Targets"].as_array().unwrap() {
            is_delivered(&name, target, LONGEST_DELIVERY);
        }
    }
    for (name, function) in &resources(&template, "AWS::Serverless::Function") {
        // Whom EventBridge calls, Lambda calls again by itself.
        let mut called_by_rule = false;
        for event in events(function) {
            let properties = &event["Properties"];
            match event["Type"].as_str().unwrap() {
                "Api" => {}
                "Schedule" => {
                    called_by_rule = true;
                    // What is older has a successor.
                    let until_next = seconds_between_runs(function).min(LONGEST_DELIVERY);
                    is_delivered(name, properties, until_next);
                }
                "EventBridgeRule" => {
                    called_by_rule = true;
                    is_delivered(name, properties, LONGEST_DELIVERY);
                }
                "SQS" => {
                    let queue = properties["Queue"]["Fn::GetAtt"].as_str().unwrap();
                    let queue_name = queue.strip_suffix(".Arn").unwrap();
                    let queue = &queues[queue_name];
                    let redrive = &queue["RedrivePolicy"];
                    let kept = dead_letters_of(queue_name);
                    assert_eq!(redrive["deadLetterTargetArn"], kept, "{name}");
                    assert!(redrive["maxReceiveCount"].as_u64() >= Some(5), "{name}");
                    // It must not come again while it is worked on.
                    let hidden = queue["VisibilityTimeout"].as_u64().unwrap();
                    assert!(hidden > function["Timeout"].as_u64().unwrap(), "{name}");
                }
                other => panic!("{name}: nothing says what becomes of a failed {other}"),
            }
        }
        let kept = json!({ "Type": "SQS", "TargetArn": dead_letters });
        let kept = if called_by_rule { kept } else { Value::Null };
        assert_eq!(function["DeadLetterQueue"], kept, "{name}");
    }
}

/// The dead letters take what rules and functions leave, and somebody hears of it.
#[test]
fn dead_letters_are_let_in_and_heard_of() {
    let template = template();
    let dead_letters = json!({ "Fn::GetAtt": "DeadLetters.Arn" });
    let (_, policy) = only(&template, "AWS::SQS::QueuePolicy");
    let queues = policy["Queues"].as_array().unwrap();
    let statements = one_or_many(&policy["PolicyDocument"]["Statement"]);
    let letting_in = |queue: &str| -> Vec<Value> {
        assert!(queues.contains(&json!({ "Ref": queue })), "{queue}");
        let arn = json!({ "Fn::GetAtt": format!("{queue}.Arn") });
        let lets_in = |one: &&Value| one_or_many(&one["Resource"]).contains(&arn);
        statements.iter().filter(lets_in).cloned().collect()
    };
    let rules =
        "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/${AWS::StackName}-*";
    let expected = json!([{
        "Effect": "Allow",
        "Principal": { "Service": "events.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": dead_letters,
        "Condition": { "ArnLike": { "aws:SourceArn": { "Fn::Sub": rules } } },
    }]);
    assert_eq!(json!(letting_in("DeadLetters")), expected);
    let of_breaches =
        json!({ "ArnEquals": { "aws:SourceArn": { "Fn::GetAtt": "BreachRule.Arn" } } });
    let of_breaches_only = letting_in("BreachDeadLetters");
    assert_eq!(of_breaches_only.len(), 1);
    assert_eq!(of_breaches_only[0]["Condition"], of_breaches);
    // The function's own right to it, which SAM adds, is worth nothing outside of
    // the boundary.
    let boundary = &resources(&template, "AWS::IAM::ManagedPolicy")["FunctionBoundary"];
    let sends = json!({ "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": dead_letters });
    assert!(one_or_many(&boundary["PolicyDocument"]["Statement"]).contains(&sends));

    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    let kept = ["DeadLetters", "BreachDeadLetters"].map(|queue| {
        let kept = &alarms[&format!("{queue}Alarm")];
        assert_eq!(kept["MetricName"], "ApproximateNumberOfMessagesVisible");
        let name = json!({ "Fn::GetAtt": format!("{queue}.QueueName") });
        assert_eq!(kept["Dimensions"], json!([{ "Name": "QueueName", "Value": name }]));
        kept
    });
    // Of every function.
    let failed = &alarms["FunctionFailsAlarm"];
    assert_eq!(
        (&failed["Namespace"], &failed["MetricName"]),
        (&json!("AWS/Lambda"), &json!("Errors"))
    );
    assert!(failed["Dimensions"].is_null());
    for alarm in kept.into_iter().chain([failed]) {
        assert_eq!(alarm["Threshold"], 0);
        assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    }
}

/// The table says of each function what invokes it, as the template does.
#[test]
fn the_table_of_what_runs_by_itself_is_that_of_the_template() {
    let document = std::fs::read_to_string(stack::root().join("docs/architecture.md")).unwrap();
    let (_, section) = document.split_once("\n## What runs by itself\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let written: BTreeSet<(String, String)> = rows
        .map(|row| {
            let mut quoted = row.split('`').skip(1).step_by(2);
            (quoted.next().unwrap().to_owned(), quoted.next().unwrap().to_owned())
        })
        .collect();
    let mut deployed = BTreeSet::new();
    for function in resources(&template(), "AWS::Serverless::Function").values() {
        for event in events(function) {
            let properties = &event["Properties"];
            let by = match event["Type"].as_str().unwrap() {
                "Schedule" => properties["Schedule"].as_str(),
                "SQS" => properties["Queue"]["Fn::GetAtt"].as_str(),
                _ => continue,
            };
            let by = by.unwrap().trim_end_matches(".Arn").to_owned();
            deployed.insert((binary_of(function), by));
        }
    }
    assert_eq!(written, deployed);
}

/// What every run of a watcher counts is missed when there is no run.
#[test]
fn a_watcher_that_stops_raises_an_alarm() {
    let template = template();
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    let functions = resources(&template, "AWS::Serverless::Function");
    for (name, function, counted) in [
        ("BreachNoticesAlarm", "WatchBreachesFunction", "breach_notices_at_risk"),
        (
            "VulnerabilityDeadlineAlarm",
            "WatchDisclosuresFunction",
            "vulnerability_deadlines_missed",
        ),
    ] {
        let (alarm, function) = (&alarms[name], &functions[function]);
        let job = binary_of(function);
        assert_eq!(alarm["Dimensions"], json!([{ "Name": "job", "Value": job }]), "{name}");
        assert_eq!(alarm["MetricName"], counted);
        assert_eq!(alarm["TreatMissingData"], "breaching", "{name}");
        // One run may come late.
        let longest = alarm["Period"].as_u64().unwrap();
        assert!(longest >= 2 * seconds_between_runs(function), "{name}");
        assert_eq!(alarm["EvaluationPeriods"], 1, "{name}");
    }
}

/// What code counts by name is what an alarm listens to.
#[test]
fn an_alarm_hears_of_breaches_and_of_lost_letters() {
    let template = template();
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    for (job, metric, file) in [
        ("watch-breaches", "breach_alarms", "functions/incidents/src/watch.rs"),
        ("mail", "letters_lost", "shared/src/mail.rs"),
    ] {
        let dimensions = json!([{ "Name": "job", "Value": job }]);
        let hears =
            |alarm: &&Value| alarm["MetricName"] == metric && alarm["Dimensions"] == dimensions;
        assert_eq!(alarms.values().filter(hears).count(), 1, "{metric}");
        let source = std::fs::read_to_string(stack::root().join(file)).unwrap();
        for name in [job, metric] {
            assert!(source.contains(&format!("\"{name}\"")), "{file} has no {name}");
        }
    }
}

/// What the rule left out would be gone without a word.
#[test]
fn the_rule_of_breaches_lets_everything_through() {
    let template = template();
    let rules = resources(&template, "AWS::Events::Rule");
    let of_bus = json!({ "Ref": "BreachBus" });
    let of_bus: Vec<&Value> =
        rules.values().filter(|rule| rule["EventBusName"] == of_bus).collect();
    assert_eq!(of_bus.len(), 1);
    // Nobody of another account may put an event there.
    assert_eq!(of_bus[0]["EventPattern"], json!({ "account": [{ "Ref": "AWS::AccountId" }] }));
    assert!(resources(&template, "AWS::Events::EventBusPolicy").is_empty());
}

/// A search by telephone number or IBAN has it in its URL.
#[test]
fn an_access_log_line_names_nobody() {
    let template = template();
    let apis = resources(&template, "AWS::Serverless::Api");
    assert_eq!(apis.len(), 1);
    let allowed = BTreeSet::from([
        "requestId",
        "requestTime",
        "httpMethod",
        // The path as the template has it, with the names of its parameters.
        "resourcePath",
        "status",
        "responseLatency",
        "tlsVersion",
        "cipherSuite",
    ]);
    for api in apis.values() {
        let line = api["AccessLogSetting"]["Format"].as_str().unwrap();
        let named = line.split("$context.").skip(1).map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap()
        });
        assert_eq!(named.collect::<BTreeSet<_>>(), allowed, "{line}");
        // The execution log would hold the query.
        for settings in api["MethodSettings"].as_array().unwrap() {
            assert_eq!(settings["DataTraceEnabled"], false);
            assert!(settings["LoggingLevel"].is_null(), "{settings}");
        }
        assert!(api["TracingEnabled"].is_null(), "traces hold the URL");
    }
}

#[test]
fn a_route_lies_in_the_crate_that_lists_it() {
    for listed in routes::all() {
        let file = format!("functions/{}/src/bin/{}.rs", listed.context, listed.spec.name);
        assert!(stack::root().join(&file).exists(), "{file}");
    }
}

/// The statements that say what `function` may do.
fn statements(function: &Value, managed: &BTreeMap<String, Value>) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&function["Policies"])
        .iter()
        .flat_map(|policy| match policy["Ref"].as_str() {
            Some(name) => list(&managed[name]["PolicyDocument"]["Statement"]),
            None => list(&policy["Statement"]),
        })
        .collect()
}

fn one_or_many(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

#[test]
fn every_function_may_do_what_it_lists_and_nothing_else() {
    let template = template();
    let managed = resources(&template, "AWS::IAM::ManagedPolicy");
    let functions = resources(&template, "AWS::Serverless::Function");
    for (name, function) in &functions {
        for statement in statements(function, &managed) {
            assert_eq!(statement["Effect"], "Allow", "{name}");
            for action in one_or_many(&statement["Action"]) {
                let action = action.as_str().unwrap();
                assert!(!action.contains('*') && action.contains(':'), "{name}: {action}");
            }
            for resource in one_or_many(&statement["Resource"]) {
                // A named resource, never "everything of the kind"; of a bucket, a
                // named folder.
                let text = resource.to_string().replace("/checkpoints/*", "");
                let text = text.replace("/exports/*", "").replace("/recalls/*", "");
                let text = text.replace("/subject-bundles/*", "");
                let text = text.replace("/incidents/*", "");
                assert!(resource.is_object() && !text.contains('*'), "{name}: {text}");
            }
        }
    }
    // A public route's function reaches nothing unless it checks a secret or
    // shows what is the provider's; and what only shows makes and changes nothing.
    for name in ["HealthFunction", "OpenApiFunction", "GetSecurityTxtFunction"] {
        assert_eq!(statements(&functions[name], &managed), Vec::<Value>::new(), "{name}");
    }
    let shows = ["secretsmanager:GetSecretValue", "kms:Decrypt", "dynamodb:BatchGetItem"];
    for name in [
        "GetOscalFunction",
        "GetPostureFunction",
        "GetVulnerabilityReportFunction",
        "ListPosturesFunction",
        "ListSecurityCreditsFunction",
        "ListSubProcessorsFunction",
    ] {
        let statements = statements(&functions[name], &managed);
        let actions = statements.iter().flat_map(|one| one_or_many(&one["Action"]));
        assert_eq!(actions.collect::<Vec<_>>(), shows, "{name}");
    }
}

#[test]
fn only_writers_of_reports_may_sign_and_only_provisioning_makes_keys() {
    let template = template();
    let managed = resources(&template, "AWS::IAM::ManagedPolicy");
    // Those who may do `action` on a resource whose name begins like this.
    let holders_on = |action: &str, resource: &str| -> Vec<String> {
        resources(&template, "AWS::Serverless::Function")
            .iter()
            .filter(|(_, function)| {
                statements(function, &managed).iter().any(|statement| {
                    let on = one_or_many(&statement["Resource"]).iter().any(|one| {
                        let name = one.pointer("/Fn::GetAtt").or_else(|| one.pointer("/Fn::Sub"));
                        name.is_some_and(|name| name.to_string().contains(resource))
                    });
                    on && one_or_many(&statement["Action"]).contains(&json!(action))
                })
            })
            .map(|(_, function)| binary_of(function))
            .collect()
    };
    let holders = |action: &str| holders_on(action, "");
    let signers = [
        "create-audit-checkpoint",
        "make-incident-report",
        "make-recall-pack",
        "publish-checkpoints",
        "run-audit-export",
    ];
    assert_eq!(holders("kms:Sign"), signers);
    let of_reports = ["make-incident-report", "make-recall-pack", "run-audit-export"];
    assert_eq!(holders_on("kms:Sign", "ReportSigningKey"), of_reports);
    let key_makers = ["maintain-keys", "prepare-tenants", "provision-tenant"];
    assert_eq!(holders("kms:GenerateDataKeyWithoutPlaintext"), key_makers);
    assert_eq!(holders("secretsmanager:PutSecretValue"), ["rotate-session-secret"]);
    assert_eq!(holders("ses:SendEmail"), ["drain-outbox"]);
    let openers = [
        "activate-totp",
        "change-password",
        "end-other-sessions",
        "finish-login",
        "login",
        "reauthenticate",
    ];
    assert_eq!(holders("dynamodb:PutItem"), openers);
    let lookers = [
        "activate-totp",
        "change-email",
        "change-password",
        "end-other-sessions",
        "end-user-sessions",
        "list-sessions",
        "make-subject-bundle",
        "offboard-user",
        "remove-totp",
        "remove-user-totp",
        "reset-password",
    ];
    assert_eq!(holders_on("dynamodb:Query", "SessionTable"), lookers);
    // Whoever erases subjects or tenants, or finishes it, can delete their
    // secrets, and nobody else.
    let erasers = [
        "destroy-tenants",
        "erase-customer",
        "erase-supplier",
        "erase-user",
        "maintain-keys",
        "triage-vulnerability",
        "watch-data-subject-requests",
    ];
    assert_eq!(holders_on("dynamodb:DeleteItem", "SubjectKeyTable"), erasers);
    assert_eq!(holders_on("dynamodb:Query", "SubjectKeyTable"), ["destroy-tenants"]);
    // Whoever erases subjects deletes bundles of theirs, and whoever makes one that
    // is refused; nothing else of a bucket.
    let deleters = [
        "erase-customer",
        "erase-supplier",
        "erase-user",
        "maintain-keys",
        "make-subject-bundle",
        "triage-vulnerability",
        "watch-data-subject-requests",
    ];
    assert_eq!(holders("s3:DeleteObject"), deleters);
    assert_eq!(holders_on("s3:DeleteObject", "ExportBucket.Arn}/subject-bundles/*"), deleters);
    let mut listers = deleters.to_vec();
    listers.retain(|name| *name != "make-subject-bundle");
    assert_eq!(holders_on("s3:ListBucket", "ExportBucket"), listers);
    let of_bundles = json!({ "StringLike": { "s3:prefix": "subject-bundles/*" } });
    let erasing = &managed["SubjectErasurePolicy"]["PolicyDocument"]["Statement"];
    let listing = one_or_many(erasing).into_iter().find(|one| one["Action"] == "s3:ListBucket");
    assert_eq!(listing.unwrap()["Condition"], of_bundles);
    // Only the posture looks at how the deployment is set up, and only it knows
    // the database's provider.
    assert_eq!(holders("kms:GetKeyRotationStatus"), ["check-posture"]);
    // Of both keys, within the boundary too.
    let cluster_key = "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/${AtlasKey}";
    let keys = json!([{ "Fn::GetAtt": "DataKey.Arn" }, { "Fn::Sub": cluster_key }]);
    let of_posture = &resources(&template, "AWS::Serverless::Function")["CheckPostureFunction"];
    let boundary = &managed["FunctionBoundary"]["PolicyDocument"]["Statement"];
    for allowed in [statements(of_posture, &managed), one_or_many(boundary)] {
        let action = json!("kms:GetKeyRotationStatus");
        let asks = |one: &&Value| one_or_many(&one["Action"]).contains(&action);
        assert_eq!(allowed.iter().find(asks).unwrap()["Resource"], keys);
    }
    assert_eq!(holders("apigateway:GET"), ["check-posture"]);
    assert_eq!(holders_on("secretsmanager:GetSecretValue", "AtlasSecret"), ["check-posture"]);
    // Every database user but that of the functions: the one that may grant, which
    // nothing has that runs by itself; the one that writes new data keys; and the
    // one that may drop.
    let users = |secret: &str| holders_on("secretsmanager:GetSecretValue", secret);
    assert_eq!(users("MongodbProvisionerSecret"), ["prepare-tenants", "provision-tenant"]);
    assert_eq!(users("MongodbKeeperSecret"), ["close-tenant", "maintain-keys"]);
    assert_eq!(users("MongodbCloserSecret"), ["destroy-tenants"]);
    for granting in ["PrepareTenantsFunction", "ProvisionTenantFunction"] {
        let function = &resources(&template, "AWS::Serverless::Function")[granting];
        assert!(function["Events"].is_null(), "{granting} runs by itself");
    }
    // Who may sign in to the canaries: the probe, and whoever makes its user.
    assert_eq!(users("CanarySecret"), ["prepare-tenants", "probe-isolation"]);
}

/// Whoever has a right to the key for what it stores or sends has it through the
/// service that keeps that.
#[test]
fn only_what_stores_or_sends_makes_keys_and_only_through_one_service() {
    let template = template();
    let managed = resources(&template, "AWS::IAM::ManagedPolicy");
    let functions = resources(&template, "AWS::Serverless::Function");
    let mut through: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut senders = BTreeSet::new();
    for function in functions.values() {
        for statement in statements(function, &managed) {
            let actions = one_or_many(&statement["Action"]);
            if actions.contains(&json!("kms:GenerateDataKey")) {
                let service = &statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"];
                let service = service.as_str().unwrap().to_owned();
                through.entry(service).or_default().insert(binary_of(function));
            }
            if actions.contains(&json!("sqs:SendMessage")) {
                assert_eq!(statement["Resource"], json!({ "Fn::GetAtt": "ExportQueue.Arn" }));
                senders.insert(binary_of(function));
            }
        }
    }
    let set = |names: &[&str]| names.iter().copied().map(str::to_owned).collect::<BTreeSet<_>>();
    let storers = set(&[
        "create-audit-checkpoint",
        "make-incident-report",
        "make-recall-pack",
        "make-subject-bundle",
        "publish-checkpoints",
        "run-audit-export",
    ]);
    assert_eq!(senders, set(&["create-audit-export", "run-audit-export", "sweep-audit-exports"]));
    // The dead letters, which a run by schedule leaves, are encrypted as well.
    let scheduled = functions.values().filter(|function| is_scheduled(function)).map(binary_of);
    senders.extend(scheduled);
    let of = |service: &str| format!("{service}.${{AWS::Region}}.amazonaws.com");
    let expected = BTreeMap::from([
        (of("s3"), storers),
        (of("sqs"), senders),
        (of("secretsmanager"), set(&["rotate-session-secret"])),
    ]);
    assert_eq!(through, expected);
}

/// The file that a table of `docs/asvs.md` names, in the folders that its
/// introduction gives; tests are named first.
fn named_in_asvs(file: &str) -> Option<String> {
    let folders =
        ["tests/tests/", "shared/src/", "functions/identity/src/", "tests/compile-fail/", ""];
    let paths = folders.map(|folder| stack::root().join(format!("{folder}{file}")));
    paths.iter().find(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap())
}

#[test]
fn the_tables_of_asvs_name_files_and_tests_that_there_are() {
    let document = std::fs::read_to_string(stack::root().join("docs/asvs.md")).unwrap();
    let mut tests = 0;
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let quoted = |text: &str| -> Vec<String> {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, _, how, tested] = cells[..] else { continue };
        let files = [quoted(how), quoted(tested)].concat();
        for file in files.iter().filter(|name| name.contains(".rs")) {
            assert!(named_in_asvs(file).is_some(), "there is no {file}: {row}");
        }
        // `file.rs`: `test`, `test` (what of it); unit `file.rs`: `test`
        for part in tested.split(';') {
            let outside = part.split('(').filter_map(|text| text.rsplit(')').next());
            let mut names = quoted(&outside.collect::<String>()).into_iter();
            let Some(file) = names.next() else { continue };
            let source =
                named_in_asvs(&file).unwrap_or_else(|| panic!("there is no {file}: {row}"));
            for name in names {
                let is_there = source.contains(&format!("fn {name}("));
                assert!(is_there, "{file} has no {name}: {row}");
                tests += 1;
            }
        }
    }
    assert!(tests > 100, "{tests} tests were found");
}

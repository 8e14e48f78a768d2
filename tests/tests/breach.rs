//! Breaches of personal data: every affected tenant told once, both clocks,
//! what is told later, what was missed; and the scope of a breach.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use keystone::auth::Role;
use keystone::clock;
use keystone_tests::bounce;
use keystone_tests::breach::{delivery, notify, notify_and_hold, refused};
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::trail::Trail;
use keystone_tests::verdicts::{Folder, pdfsig, pdftotext, pyhanko};
use keystone_tests::{Client, Stack, Tenant, samples};
use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What every mail about a breach says, and no other.
const NOTICE: &str = "This is our notice under Art. 33(2) GDPR";
const UPDATE: &str = "further information, number";

fn hours_ago(hours: i64) -> Timestamp {
    clock::now() - SignedDuration::from_hours(hours)
}

/// A breach that was confirmed so long ago.
fn breach(tenants: &[&str], hours: i64) -> Value {
    let mut detail = samples::breach(tenants);
    detail["confirmed_at"] = json!(hours_ago(hours));
    detail
}

fn id(detail: &Value) -> &str {
    detail["incident"].as_str().unwrap()
}

async fn collection(stack: &Stack, slug: &str, name: &str) -> Collection<Document> {
    stack.database().await.database(&format!("t_{slug}")).collection(name)
}

async fn count(stack: &Stack, slug: &str, name: &str, filter: Document) -> u64 {
    collection(stack, slug, name).await.count_documents(filter).await.unwrap()
}

async fn set_state(stack: &Stack, slug: &str, state: &str) {
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    let state = doc! { "$set": { "state": state } };
    assert_eq!(tenants.update_one(doc! { "_id": slug }, state).await.unwrap().matched_count, 1);
}

async fn mails(stack: &Stack, address: &str, text: &str) -> usize {
    stack.mails_to(address).await.iter().filter(|mail| mail.contains(text)).count()
}

/// What the provider keeps of the delivery of a breach to a tenant.
async fn delivered(stack: &Stack, breach: &str, slug: &str) -> Document {
    let of = doc! { "breach_id": breach, "tenant": slug };
    let found = collection(stack, "keystone", "breach_deliveries").await.find_one(of).await;
    found.unwrap().unwrap()
}

/// Actions in the provider's trail about one document.
async fn actions_about(stack: &Stack, resource: &str) -> Vec<String> {
    let entries = stack.database().await.database("t_keystone_audit");
    let of = doc! { "entry.resource.id": resource };
    let found: Vec<Document> = entries
        .collection("entries")
        .find(of)
        .sort(doc! { "_id": 1 })
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let action =
        |one: &Document| one.get_document("entry").unwrap().get_str("action").unwrap().to_owned();
    found.iter().map(action).collect()
}

/// Lets the watcher look once at everything. It fails in part when another
/// test's tenant cannot be reached, which is that test's to judge.
async fn watch(stack: &Stack) {
    stack.aws().invoke_to_the_end(&stack.function("watch-breaches"), &json!({})).await;
}

async fn drain(stack: &Stack, slug: &str) -> Value {
    let event = json!({ "tenant": slug });
    stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &event).await
}

/// The only incident of a tenant as `client` sees it.
async fn incident(client: &Client) -> Value {
    let listed = client.get("/v1/incidents").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let id = listed["items"][0]["id"].as_str().unwrap();
    client.get(&format!("/v1/incidents/{id}")).await.expect(200).json()
}

fn timeline(incident: &Value) -> Vec<&str> {
    let entries = incident["timeline"].as_array().unwrap();
    entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect()
}

/// A function that cannot reach the mail service.
async fn mailer_without_mail(stack: &Stack) -> Function {
    let mut environment = stack.environment("drain-outbox").await;
    environment.insert("AWS_ENDPOINT_URL_SESV2".into(), "http://127.0.0.1:9".into());
    Function::start(&build_directory().join("drain-outbox"), &environment).await
}

/// Makes the tenant's waiting messages due at `at`, after so many attempts.
async fn due(stack: &Stack, slug: &str, at: Timestamp, attempts: i32) {
    let at = DateTime::from_millis(at.as_millisecond());
    let outbox = collection(stack, slug, "outbox").await;
    let waiting = doc! { "state": { "$ne": "sent" } };
    let change = doc! { "$set": { "state": "pending", "due_at": at, "attempts": attempts } };
    assert_eq!(outbox.update_many(waiting, change).await.unwrap().matched_count, 1);
}

/// How many runs about events have ended since `began`, whoever delivered them: no
/// other test delivers any meanwhile.
async fn runs_ended(stack: &Stack, began: Timestamp) -> usize {
    let function = format!("\"{}\"", stack.function("notify-breach"));
    let logs = stack.logs(began).await;
    let ended = ["\"job done\"", "\"job failed\""];
    let of_run = |line: &&str| {
        line.contains(&function) && ended.iter().any(|message| line.contains(*message))
    };
    logs.lines().filter(of_run).count()
}

#[tokio::test]
async fn forty_tenants_are_each_told_once_though_the_event_comes_five_times() {
    const TENANTS: usize = 40;
    let stack = Stack::load();
    let others: Vec<Tenant<'_>> = stream::iter(0..TENANTS - 1)
        .map(|_| stack.unattended_tenant("told"))
        .buffer_unordered(6)
        .collect()
        .await;
    let (attended, apart) =
        futures::join!(stack.tenant("told", &[Role::Viewer]), stack.tenant("untold", &[]));
    let slugs: Vec<&str> = others.iter().chain([&attended]).map(Tenant::slug).collect();
    let detail = breach(&slugs, 1);

    // Three by hand at once, two through the bus, which nobody waits for.
    let began = clock::now();
    let bus = stack.value("BREACH_BUS");
    let put = || stack.aws().put_event(bus, "keystone.security", "BreachConfirmed", &detail);
    let by_hand = join_all((0..3).map(|_| notify(&stack, "BreachConfirmed", &detail)));
    futures::join!(by_hand, put(), put());
    let mut ended = 0;
    for _ in 0..60 {
        ended = runs_ended(&stack, began).await;
        if ended >= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(ended >= 5, "{ended} of five deliveries were looked at");
    // All mail leaves, by two runs at once.
    let run = || async {
        stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
    };
    for _ in 0..3 {
        futures::join!(run(), run());
    }
    watch(&stack).await;
    notify(&stack, "BreachConfirmed", &detail).await;

    for slug in &slugs {
        let email = format!("super_admin@{slug}.example");
        assert!(stack.mails_after_drain(&email, NOTICE).await, "{slug} got no mail");
        assert_eq!(mails(&stack, &email, NOTICE).await, 1, "{slug}");
        assert_eq!(count(&stack, slug, "notices", doc! { "kind": "breach" }).await, 1, "{slug}");
        assert_eq!(count(&stack, slug, "incidents", doc! {}).await, 1, "{slug}");
        let trail = Trail::read(&stack, slug).await;
        trail.verify();
        let told = trail.entries.iter().filter(|entry| entry.action == "incident.notify");
        assert_eq!(told.count(), 1, "{slug}");
    }
    watch(&stack).await;
    assert_eq!(
        actions_about(&stack, id(&detail)).await,
        ["breach.confirm", "breach.settle"],
        "recorded once, and settled when all were told"
    );
    let settled = doc! { "breach_id": id(&detail), "letters.0.state": "sent" };
    assert_eq!(count(&stack, "keystone", "breach_deliveries", settled).await, 40);

    // What a tenant sees of it, and what another does.
    let shown = incident(attended.owner()).await;
    assert_eq!(shown["clocks"]["ours"]["state"], "within_target");
    assert_eq!(shown["affected"]["subjects"], 120);
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let (ours, yours) = (&shown["clocks"]["ours"], &shown["clocks"]["yours"]);
    let confirmed = at(&detail["confirmed_at"]);
    let three_days = SignedDuration::from_hours(72);
    assert_eq!(at(&ours["deadline"]), confirmed + three_days);
    assert_eq!(ours["delivered_at"], yours["started_at"]);
    assert_eq!(at(&yours["deadline"]), at(&yours["started_at"]) + three_days);
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_sent"]);
    assert_ne!(shown["id"], detail["incident"], "tenants cannot compare incidents");
    attended.user(Role::Viewer).get("/v1/incidents").await.must(403);
    for path in ["/v1/incidents", "/v1/notices"] {
        let found = apart.owner().get(path).await.expect(200).json();
        assert_eq!(found["items"], json!([]), "{path}");
    }
    for tenant in others {
        tenant.close().await;
    }
    attended.finish().await;
    apart.finish().await;
}

#[tokio::test]
async fn a_mail_service_that_fails_delays_the_notice_and_is_told_of() {
    let stack = Stack::load();
    let tenant = stack.tenant("mail-fails", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 25);
    notify_and_hold(&stack, slug, &detail).await;
    let mut mailer = mailer_without_mail(&stack).await;

    // For a while: it is tried again, and the alarm of 24 hours is raised once.
    due(&stack, slug, clock::now(), 0).await;
    let tried = mailer.invoke(&json!({ "tenant": slug })).await;
    assert_eq!(tried, json!({ "sent": 0, "retried": 1, "failed": 0 }));
    let shown = incident(tenant.owner()).await;
    assert_eq!(shown["told"][0]["mail"]["state"], "pending");
    assert_eq!(shown["clocks"]["ours"]["state"], "late");
    assert_eq!(
        shown["clocks"]["yours"],
        json!({ "started_at": null, "deadline": null, "over": false })
    );
    let began = clock::now();
    watch(&stack).await;
    watch(&stack).await;
    let known = delivered(&stack, id(&detail), slug).await;
    assert_eq!(known.get_array("alarms").unwrap(), &[24_i64.into()]);
    let about = known.get_str("_id").unwrap();
    assert_eq!(actions_about(&stack, about).await, ["breach_delivery.alarm"]);
    let logs = stack.logs(began - SignedDuration::from_secs(1)).await;
    let at_risk = logs.lines().filter(|line| line.contains("\"breach_notices_at_risk\":"));
    let at_risk: Vec<&str> = at_risk.collect();
    assert!(
        at_risk.iter().any(|line| !line.contains("\"breach_notices_at_risk\":0")),
        "{at_risk:?}"
    );

    // It is tried for longer than other mail.
    due(&stack, slug, clock::now(), 9).await;
    let tried = mailer.invoke(&json!({ "tenant": slug })).await;
    assert_eq!(tried, json!({ "sent": 0, "retried": 1, "failed": 0 }));

    // For good: it is given up, which the incident shows.
    due(&stack, slug, clock::now(), 79).await;
    let tried = mailer.invoke(&json!({ "tenant": slug })).await;
    assert_eq!(tried, json!({ "sent": 0, "retried": 0, "failed": 1 }));
    watch(&stack).await;
    let known = delivered(&stack, id(&detail), slug).await;
    let letter = known.get_array("letters").unwrap()[0].as_document().unwrap();
    assert_eq!(letter.get_str("state").unwrap(), "failed");
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_failed"]);
    assert_eq!(mails(&stack, &email, NOTICE).await, 0);

    // Somebody telephones meanwhile: our clock ends, and so does the alarm.
    let told = |at: Timestamp| {
        json!({
            "incident": id(&detail), "tenant": slug, "at": at, "how": "Una telephoned Orla Byrne",
        })
    };
    let at = hours_ago(0);
    for _ in 0..2 {
        notify(&stack, "BreachToldByHand", &told(at)).await;
    }
    let other = refused(&stack, "BreachToldByHand", &told(hours_ago(1))).await;
    assert!(other.contains("in another way"), "{other}");
    watch(&stack).await;
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_failed", "told_by_hand"]);
    assert_eq!(shown["clocks"]["ours"]["state"], "within_deadline");
    assert_eq!(shown["clocks"]["yours"]["started_at"], shown["by_hand"]["at"]);
    assert_eq!(actions_about(&stack, id(&detail)).await, ["breach.confirm", "breach.settle"]);

    // What the operator does then: the same message again, delivered once.
    due(&stack, slug, clock::now(), 0).await;
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    drain(&stack, slug).await;
    assert_eq!(mails(&stack, &email, NOTICE).await, 1);
    watch(&stack).await;
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "told_by_hand", "mail_sent"]);
    assert_eq!(shown["clocks"]["yours"]["started_at"], shown["by_hand"]["at"]);
    tenant.finish().await;
}

/// What cannot be opened cannot be sent, and cannot be sealed anew either.
#[tokio::test]
async fn a_notice_that_opens_no_more_is_given_up_and_counted() {
    let stack = Stack::load();
    let tenant = stack.tenant("opens-no-more", &[]).await;
    let slug = tenant.slug();
    let detail = breach(&[slug], 1);
    notify_and_hold(&stack, slug, &detail).await;
    let (outbox, mail) = (collection(&stack, slug, "outbox").await, mail_of(&stack, slug).await);
    let one = doc! { "_id": &mail };
    let stored = async || outbox.find_one(one.clone()).await.unwrap().unwrap();
    let held = stored().await;
    let text = held.get_document("message").unwrap().get_binary_generic("ct").unwrap();
    let mut bytes = text.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = Binary { subtype: BinarySubtype::Generic, bytes };
    let damage = doc! { "$set": { "message.ct": damaged } };
    assert_eq!(outbox.update_one(one.clone(), damage).await.unwrap().modified_count, 1);
    let damaged = stored().await.get_document("message").unwrap().clone();

    let began = clock::now();
    due(&stack, slug, began, 9).await;
    for _ in 0..100 {
        drain(&stack, slug).await;
        // Another run may have it right now.
        if stored().await.get_str("state").unwrap() == "failed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ended = stored().await;
    assert_eq!(ended.get_str("state").unwrap(), "failed");
    assert_eq!(ended.get_document("message").unwrap(), &damaged, "it stays as it is");
    let nothing = json!({ "sent": 0, "retried": 0, "failed": 0 });
    assert_eq!(drain(&stack, slug).await, nothing, "it has ended");
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_failed"]);
    let logs = stack.logs(began - SignedDuration::from_secs(1)).await;
    assert!(logs.contains(&mail) && logs.contains("\"letters_lost\":1"), "it is counted");
    let trail = Trail::read(&stack, slug).await;
    trail.verify();
    let given_up = trail.entries.iter().filter(|entry| entry.action == "mail.give_up");
    let given_up: Vec<&str> = given_up.map(|entry| entry.resource.id.as_str()).collect();
    assert_eq!(given_up, [mail.as_str()]);

    // Somebody telephones.
    let told = json!({
        "incident": id(&detail), "tenant": slug, "at": hours_ago(0), "how": "Una telephoned",
    });
    notify(&stack, "BreachToldByHand", &told).await;
    watch(&stack).await;
    tenant.finish().await;
}

/// The table of secrets is away once the function has opened the tenant: what opens
/// the message is the secret of its recipient, which comes from there as well.
#[tokio::test]
async fn a_store_that_is_away_is_no_attempt_to_send() {
    let stack = Stack::load();
    let tenant = stack.tenant("store-away", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 1);
    notify_and_hold(&stack, slug, &detail).await;
    let (outbox, mail) = (collection(&stack, slug, "outbox").await, mail_of(&stack, slug).await);
    let stored = async || outbox.find_one(doc! { "_id": &mail }).await.unwrap().unwrap();
    let held = stored().await;
    let about = held.get_document("message").unwrap().get_str("sub").unwrap();
    assert!(about.starts_with("user:"), "{about}");

    let mut environment = stack.environment("drain-outbox").await;
    let emulator = environment["AWS_ENDPOINT_URL"].trim_start_matches("http://");
    let emulator = emulator.trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://{}", listener.local_addr().unwrap());
    environment.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), way);
    let open = tokio::spawn(async move {
        let mut relays = JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            let emulator = emulator.clone();
            relays.spawn(async move {
                let mut to = TcpStream::connect(emulator).await?;
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    let mut mailer = Function::start(&build_directory().join("drain-outbox"), &environment).await;
    let only = json!({ "tenant": slug });
    let nothing = json!({ "sent": 0, "retried": 0, "failed": 0 });
    assert_eq!(mailer.invoke(&only).await, nothing);
    open.abort();
    assert!(open.await.unwrap_err().is_cancelled());

    let began = clock::now();
    due(&stack, slug, began, 9).await;
    let failed = mailer.failure(&only).await;
    assert!(failed.contains("unavailable"), "{failed}");
    let waits = stored().await;
    assert_eq!(waits.get_str("state").unwrap(), "pending");
    assert_eq!(waits.get_i32("attempts").unwrap(), 9);
    let due_at = waits.get_datetime("due_at").unwrap().timestamp_millis();
    assert!(due_at >= began.as_millisecond() + 60_000, "it waits for a minute");

    due(&stack, slug, clock::now(), 9).await;
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    assert_eq!(mails(&stack, &email, NOTICE).await, 1);
    watch(&stack).await;
    tenant.finish().await;
}

/// The first pause before another attempt is a minute, so the test waits for it.
/// Nobody touches the message, and the job that sends it is the one that runs every
/// minute.
#[tokio::test]
async fn a_mail_service_that_is_back_gets_the_notice_without_anybody() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("mail-is-back").await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let mut mailer = mailer_without_mail(&stack).await;
    let only = json!({ "tenant": slug });
    let nothing = json!({ "sent": 0, "retried": 0, "failed": 0 });
    drain(&stack, slug).await;
    mailer.invoke(&only).await;

    // Runs of other tests may be faster than the one without a mail service; then
    // there is another breach.
    let mut failed = None;
    for _ in 0..10 {
        let mut detail = breach(&[slug], 1);
        detail["nature"] = json!(format!("A copy of backup {} was read.", id(&detail)));
        set_state(&stack, slug, "suspended").await;
        notify(&stack, "BreachConfirmed", &detail).await;
        set_state(&stack, slug, "active").await;
        let tried = mailer.invoke(&only).await;
        if tried == json!({ "sent": 0, "retried": 1, "failed": 0 }) {
            failed = detail["nature"].as_str().map(str::to_owned);
            break;
        }
        assert_eq!(tried, nothing);
    }
    let nature = failed.unwrap();
    let tried_at = clock::now();
    // It is not sent before its time.
    assert_eq!(drain(&stack, slug).await, nothing);
    assert_eq!(mails(&stack, &email, &nature).await, 0);
    let mut arrived = 0;
    for _ in 0..45 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drain(&stack, slug).await;
        arrived = mails(&stack, &email, &nature).await;
        if arrived > 0 {
            break;
        }
    }
    assert_eq!(arrived, 1, "it leaves once the pause is over");
    let waited = clock::now().duration_since(tried_at);
    assert!(waited >= SignedDuration::from_secs(50), "{waited:?}");
    assert_eq!(drain(&stack, slug).await, nothing);
    let trail = Trail::read(&stack, slug).await;
    trail.verify();
    assert!(!trail.entries.iter().any(|entry| entry.action == "mail.give_up"));
    watch(&stack).await;
    tenant.close().await;
}

/// What the tenant was told of its only incident left as these messages.
async fn mails_of(stack: &Stack, slug: &str) -> Vec<String> {
    let incidents = collection(stack, slug, "incidents").await;
    let found = incidents.find_one(doc! {}).await.unwrap().unwrap();
    let mail = |told: &Bson| told.as_document().unwrap().get_str("mail_id").unwrap().to_owned();
    found.get_array("told").unwrap().iter().map(mail).collect()
}

/// The notice of the tenant's only incident left as this message.
async fn mail_of(stack: &Stack, slug: &str) -> String {
    mails_of(stack, slug).await.remove(0)
}

/// Lets a message of the tenant come back.
async fn comes_back(stack: &Stack, (slug, mail): (&str, &str), to: &str) {
    let event = bounce::event("a-set", (slug, mail), to, ("Permanent", "General"));
    assert_eq!(bounce::record(stack, &event).await, 1);
}

/// An incident may be why a tenant is suspended. It is told of the breach all the
/// same; its other mail waits.
#[tokio::test]
async fn a_suspended_tenant_is_told_of_a_breach_and_gets_no_other_mail() {
    let stack = Stack::load();
    let tenant = stack.tenant("suspended", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    drain(&stack, slug).await;
    set_state(&stack, slug, "suspended").await;
    let detail = breach(&[slug], 1);
    notify(&stack, "BreachConfirmed", &detail).await;
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    let more = json!({ "incident": id(&detail), "sequence": 1, "text": "It was a laptop." });
    notify(&stack, "BreachUpdated", &more).await;
    assert!(stack.mails_after_drain(&email, "It was a laptop.").await);

    // Of what left before it was suspended, the first message waits once more.
    let outbox = collection(&stack, slug, "outbox").await;
    let first = outbox.find_one(doc! { "state": "sent" }).sort(doc! { "_id": 1 }).await;
    let first = doc! { "_id": first.unwrap().unwrap().get_str("_id").unwrap() };
    let due_at = DateTime::from_millis(clock::now().as_millisecond());
    let again = doc! { "$set": { "state": "pending", "due_at": due_at, "attempts": 0 } };
    assert_eq!(outbox.update_one(first.clone(), again).await.unwrap().matched_count, 1);
    let state = async || {
        let found = outbox.find_one(first.clone()).await.unwrap().unwrap();
        found.get_str("state").unwrap().to_owned()
    };
    assert_eq!(drain(&stack, slug).await["sent"], 0);
    assert_eq!(state().await, "pending");
    watch(&stack).await;
    let known = delivered(&stack, id(&detail), slug).await;
    assert_eq!(known.get_array("letters").unwrap().len(), 2);
    assert_eq!(mails(&stack, &email, NOTICE).await, 1);

    set_state(&stack, slug, "active").await;
    for _ in 0..100 {
        drain(&stack, slug).await;
        // Another run may be sending it right now.
        if state().await == "sent" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state().await, "sent");
    assert_eq!(incident(tenant.owner()).await["clocks"]["ours"]["state"], "within_target");
    tenant.finish().await;
}

/// The emulator's SES tells of no bounces. So the rule's pattern is asked whether
/// SES's documented event fits, and that event is put into the rule's queue.
#[tokio::test]
async fn a_notice_that_comes_back_was_not_delivered() {
    let stack = Stack::load();
    let tenant = stack.tenant("comes-back", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 25);
    notify(&stack, "BreachConfirmed", &detail).await;
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    watch(&stack).await;
    watch(&stack).await;
    assert_eq!(actions_about(&stack, id(&detail)).await, ["breach.confirm", "breach.settle"]);

    let pattern = stack.aws().event_pattern(&stack.function("bounces")).await;
    let set = pattern["detail"]["mail"]["tags"]["ses:configuration-set"][0].as_str().unwrap();
    let mail = mail_of(&stack, slug).await;
    let permanent = ("Permanent", "General");
    let event = bounce::event(set, (slug, &mail), &email, permanent);
    assert!(stack.aws().fits_pattern(&pattern, &event).await);
    let other = bounce::event("of-another-deployment", (slug, &mail), &email, permanent);
    assert!(!stack.aws().fits_pattern(&pattern, &other).await);
    let mut delivered_event = event.clone();
    delivered_event["detail-type"] = json!("Email Delivered");
    assert!(!stack.aws().fits_pattern(&pattern, &delivered_event).await);

    // What is none of ours or may have arrived changes nothing.
    let nobody = "01890000-0000-7000-8000-000000000000";
    for ignored in [
        bounce::event(set, ("nobody-here", &mail), &email, permanent),
        bounce::event(set, (slug, nobody), &email, permanent),
        bounce::event(set, (slug, "no-id"), &email, permanent),
        bounce::event(set, (slug, &mail), &email, ("Transient", "General")),
    ] {
        assert_eq!(bounce::record(&stack, &ignored).await, 0, "{ignored}");
    }
    let state = async || incident(tenant.owner()).await["told"][0]["mail"]["state"].clone();
    assert_eq!(state().await, "sent");

    let began = clock::now();
    stack.aws().send_message(&stack.function("bounces"), &event).await;
    for _ in 0..200 {
        if state().await == "bounced" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state().await, "bounced");
    // It comes once more, or late: nothing new.
    assert_eq!(bounce::record(&stack, &event).await, 0);
    assert_eq!(drain(&stack, slug).await["sent"], 0, "and it is not sent again");
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_bounced"]);
    assert_eq!(shown["clocks"]["ours"]["state"], "late");
    assert_eq!(shown["clocks"]["yours"]["started_at"], Value::Null);

    // The watcher looks again at what was settled, and alarms.
    watch(&stack).await;
    watch(&stack).await;
    let reopened = ["breach.confirm", "breach.settle", "breach.reopen"];
    assert_eq!(actions_about(&stack, id(&detail)).await, reopened);
    let known = delivered(&stack, id(&detail), slug).await;
    assert_eq!(known.get_array("alarms").unwrap(), &[24_i64.into()]);
    let letter = known.get_array("letters").unwrap()[0].as_document().unwrap();
    assert_eq!(letter.get_str("state").unwrap(), "bounced");
    let logs = stack.logs(began - SignedDuration::from_secs(1)).await;
    assert!(logs.contains(&mail), "which message it was is logged");
    assert!(logs.contains("\"letters_lost\":1"), "and it is counted, for an alarm");
    assert!(!logs.contains(&email), "whose address it has is not");
    let at_risk = logs.lines().filter(|line| line.contains("\"breach_notices_at_risk\":"));
    assert!(at_risk.into_iter().any(|line| !line.contains("\"breach_notices_at_risk\":0")));

    // Somebody telephones.
    let told = json!({
        "incident": id(&detail), "tenant": slug, "at": hours_ago(0), "how": "Una telephoned",
    });
    notify(&stack, "BreachToldByHand", &told).await;
    watch(&stack).await;
    watch(&stack).await;
    let settled = ["breach.confirm", "breach.settle", "breach.reopen", "breach.settle"];
    assert_eq!(actions_about(&stack, id(&detail)).await, settled);
    let shown = incident(tenant.owner()).await;
    assert_eq!(timeline(&shown), ["confirmed", "published", "mail_bounced", "told_by_hand"]);
    assert_eq!(shown["clocks"]["ours"]["state"], "within_deadline");
    tenant.finish().await;
}

#[tokio::test]
async fn what_came_back_is_written_again_once_the_address_is_another() {
    let stack = Stack::load();
    let tenant = stack.tenant("mistyped", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 25);
    let more = json!({ "incident": id(&detail), "sequence": 1, "text": "It was a laptop." });
    notify(&stack, "BreachConfirmed", &detail).await;
    notify(&stack, "BreachUpdated", &more).await;
    for text in [NOTICE, "It was a laptop."] {
        assert!(stack.mails_after_drain(&email, text).await, "{text}");
    }
    let first = mails_of(&stack, slug).await;
    for mail in &first {
        comes_back(&stack, (slug, mail), &email).await;
    }
    // To the same address it would come back again.
    watch(&stack).await;
    assert_eq!(mails_of(&stack, slug).await, first);

    let right = tenant.address_of("right");
    let owner = tenant.owner();
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let primary = json!({ "contacts": { "primary": { "name": "Orla Byrne", "email": right } } });
    owner.patch("/v1/tenant", &etag, &primary).await.must(200);
    let again = || notify(&stack, "BreachConfirmed", &detail);
    futures::join!(watch(&stack), again(), watch(&stack), again());
    let second = mails_of(&stack, slug).await;
    assert_eq!(second.len(), 2);
    assert!(second.iter().all(|mail| !first.contains(mail)), "{second:?} after {first:?}");
    for text in [NOTICE, "It was a laptop."] {
        assert!(stack.mails_after_drain(&right, text).await, "{text}");
        assert_eq!(mails(&stack, &right, text).await, 1, "{text}");
        assert_eq!(mails(&stack, &email, text).await, 1, "{text}");
    }
    watch(&stack).await;
    watch(&stack).await;
    let done = actions_about(&stack, id(&detail)).await;
    assert_eq!(done.last().map(String::as_str), Some("breach.settle"), "{done:?}");
    assert_eq!(mails_of(&stack, slug).await, second, "what arrived is not written again");
    let shown = incident(owner).await;
    assert_eq!(shown["clocks"]["ours"]["state"], "within_deadline");
    let entries = ["confirmed", "published", "published", "mail_sent", "mail_sent"];
    assert_eq!(timeline(&shown), entries);
    let trail = Trail::read(&stack, slug).await;
    trail.verify();
    let again = trail.entries.iter().filter(|entry| entry.action == "incident.write_again");
    assert_eq!(again.count(), 1);
    assert_eq!(count(&stack, slug, "notices", doc! {}).await, 2, "in the console they stand once");

    // The new address may be wrong as well.
    comes_back(&stack, (slug, &second[1]), &right).await;
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let primary = json!({ "contacts": { "primary": { "name": "Orla Byrne", "email": email } } });
    owner.patch("/v1/tenant", &etag, &primary).await.must(200);
    watch(&stack).await;
    let third = mails_of(&stack, slug).await;
    assert_eq!(third[0], second[0]);
    assert!(!first.contains(&third[1]) && !second.contains(&third[1]));
    for _ in 0..100 {
        drain(&stack, slug).await;
        if mails(&stack, &email, "It was a laptop.").await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(mails(&stack, &email, "It was a laptop.").await, 2);
    watch(&stack).await;
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_not_taken_is_written_again_once_the_address_is_another() {
    let stack = Stack::load();
    let tenant = stack.tenant("not-taken", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 25);
    notify_and_hold(&stack, slug, &detail).await;
    let (outbox, first) = (collection(&stack, slug, "outbox").await, mails_of(&stack, slug).await);
    let (right, owner) = (tenant.address_of("right"), tenant.owner());
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let primary = json!({ "contacts": { "primary": { "name": "Orla Byrne", "email": right } } });
    owner.patch("/v1/tenant", &etag, &primary).await.must(200);
    // It may yet be taken.
    watch(&stack).await;
    assert_eq!(mails_of(&stack, slug).await, first);
    let long_ago = clock::now() - SignedDuration::from_hours(5);
    let long_ago = doc! { "updated_at": DateTime::from_millis(long_ago.as_millisecond()) };
    let of_first = doc! { "_id": &first[0] };
    let done = outbox.update_one(of_first.clone(), doc! { "$set": long_ago }).await.unwrap();
    assert_eq!(done.matched_count, 1);
    futures::join!(watch(&stack), watch(&stack));
    let second = mails_of(&stack, slug).await;
    assert!(second.len() == 1 && second != first, "{second:?} after {first:?}");
    let ended = outbox.find_one(of_first).await.unwrap().unwrap();
    assert_eq!(ended.get_str("state").unwrap(), "failed");
    assert!(stack.mails_after_drain(&right, NOTICE).await);
    assert_eq!((mails(&stack, &right, NOTICE).await, mails(&stack, &email, NOTICE).await), (1, 0));
    watch(&stack).await;
    assert_eq!(actions_about(&stack, id(&detail)).await.last().unwrap(), "breach.settle");
    tenant.finish().await;
}

#[tokio::test]
async fn each_letter_can_be_told_by_hand() {
    let stack = Stack::load();
    let tenant = stack.tenant("by-hand", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 1);
    notify(&stack, "BreachConfirmed", &detail).await;
    let told = |sequence: i64, how: &str| {
        json!({
            "incident": id(&detail), "tenant": slug, "sequence": sequence, "at": hours_ago(0),
            "how": how,
        })
    };
    let early = refused(&stack, "BreachToldByHand", &told(1, "Una telephoned")).await;
    assert!(early.contains("has not come yet"), "{early}");
    for (sequence, text) in [(1, "It was a laptop."), (2, "It was encrypted.")] {
        let more = json!({ "incident": id(&detail), "sequence": sequence, "text": text });
        notify(&stack, "BreachUpdated", &more).await;
        assert!(stack.mails_after_drain(&email, text).await, "{text}");
    }
    for mail in &mails_of(&stack, slug).await[1..] {
        comes_back(&stack, (slug, mail), &email).await;
    }
    let at = told(1, "Una telephoned");
    for _ in 0..2 {
        notify(&stack, "BreachToldByHand", &at).await;
    }
    let other = refused(&stack, "BreachToldByHand", &told(1, "Una wrote")).await;
    assert!(other.contains("in another way"), "{other}");
    let state = async || {
        let breaches = collection(&stack, "keystone", "breaches").await;
        let found = breaches.find_one(doc! { "_id": id(&detail) }).await.unwrap().unwrap();
        found.get_str("state").unwrap().to_owned()
    };
    watch(&stack).await;
    watch(&stack).await;
    assert_eq!(state().await, "open", "one is still to be told");
    notify(&stack, "BreachToldByHand", &told(2, "Una telephoned")).await;
    watch(&stack).await;
    watch(&stack).await;
    assert_eq!(state().await, "settled");
    let known = delivered(&stack, id(&detail), slug).await;
    assert_eq!(known.get_array("updates_by_hand").unwrap(), &[1_i64.into(), 2_i64.into()]);

    // Our clock ended with the notice, which arrived.
    let shown = incident(tenant.owner()).await;
    let ours = &shown["clocks"]["ours"];
    assert_eq!(ours["delivered_at"], shown["told"][0]["mail"]["since"]);
    assert_eq!(shown["by_hand"], Value::Null);
    let updates = shown["updates_by_hand"].as_array().unwrap();
    let sequences: Vec<&Value> = updates.iter().map(|one| &one["sequence"]).collect();
    assert_eq!(sequences, [1_i64, 2]);
    assert_eq!(timeline(&shown).iter().filter(|what| **what == "told_by_hand").count(), 2);
    tenant.finish().await;
}

#[tokio::test]
async fn a_missed_deadline_is_recorded_and_shown() {
    let stack = Stack::load();
    let (near, tenant) =
        futures::join!(stack.tenant("nearly-missed", &[]), stack.tenant("missed", &[]));
    // An hour is left to the one, the other's is over.
    let (early, detail) = (breach(&[near.slug()], 71), breach(&[tenant.slug()], 73));
    notify_and_hold(&stack, near.slug(), &early).await;
    notify_and_hold(&stack, tenant.slug(), &detail).await;
    let began = clock::now();
    watch(&stack).await;
    watch(&stack).await;
    let logs = stack.logs(began - SignedDuration::from_secs(1)).await;
    // What the alarm hears: three times of hours that passed, and once of the miss.
    let metrics = ["\"breach_deadlines_missed\":1", "\"breach_alarms\":3", "\"breach_alarms\":1"];
    for metric in metrics {
        assert!(logs.contains(metric), "{metric}");
    }
    let all: [mongodb::bson::Bson; 3] = [24_i64.into(), 48_i64.into(), 60_i64.into()];
    for (breach, slug, missed, action) in [
        (&early, near.slug(), false, "breach_delivery.alarm"),
        (&detail, tenant.slug(), true, "breach_delivery.miss"),
    ] {
        let known = delivered(&stack, id(breach), slug).await;
        assert_eq!(known.get_bool("missed").unwrap(), missed);
        assert_eq!(known.get_array("alarms").unwrap(), &all);
        let recorded = actions_about(&stack, known.get_str("_id").unwrap()).await;
        assert_eq!(recorded, [action], "once");
    }
    let shown = incident(near.owner()).await;
    assert_eq!(shown["clocks"]["ours"]["state"], "late");
    let shown = incident(tenant.owner()).await;
    assert_eq!(shown["clocks"]["ours"]["state"], "missed");
    assert_eq!(timeline(&shown), ["confirmed", "deadline_missed", "published"]);

    // Late is late, and still told.
    for one in [&near, &tenant] {
        due(&stack, one.slug(), clock::now(), 0).await;
        assert!(stack.mails_after_drain(&one.email_of(Role::SuperAdmin), NOTICE).await);
    }
    watch(&stack).await;
    let known = delivered(&stack, id(&detail), tenant.slug()).await;
    assert!(known.get_bool("missed").unwrap());
    let shown = incident(tenant.owner()).await;
    assert_eq!(shown["clocks"]["ours"]["state"], "missed");
    assert!(shown["clocks"]["yours"]["deadline"].is_string());
    assert_eq!(incident(near.owner()).await["clocks"]["ours"]["state"], "within_deadline");
    near.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn what_becomes_known_later_is_told_in_order_and_once() {
    let stack = Stack::load();
    let (tenant, late) = futures::join!(
        stack.tenant("phases", &[Role::Admin, Role::OpsUser, Role::Viewer, Role::Demo]),
        stack.tenant("phases", &[])
    );
    let email = tenant.email_of(Role::SuperAdmin);
    let detail = breach(&[tenant.slug()], 2);
    let update = |sequence: i64, text: &str| json!({ "incident": detail["incident"], "sequence": sequence, "text": text });
    let early = refused(&stack, "BreachUpdated", &update(1, "Nobody knows yet")).await;
    assert!(early.contains("not confirmed yet"), "{early}");
    notify(&stack, "BreachConfirmed", &detail).await;
    let gap = refused(&stack, "BreachUpdated", &update(2, "Second")).await;
    assert!(gap.contains("An earlier update"), "{gap}");
    for _ in 0..2 {
        notify(&stack, "BreachUpdated", &update(1, "It was a stolen laptop.")).await;
    }
    let second = update(2, "It was encrypted.");
    let both = || notify(&stack, "BreachUpdated", &second);
    futures::join!(both(), both());
    let other = refused(&stack, "BreachUpdated", &update(1, "It was a stolen car.")).await;
    assert!(other.contains("known with another text"), "{other}");

    // A tenant of which it is known only now is told all of it; what was said
    // before cannot be said in another way.
    let mut further = detail.clone();
    further["tenants"] = breach(&[late.slug()], 1)["tenants"].clone();
    further["confirmed_at"] = json!(hours_ago(1));
    notify(&stack, "BreachConfirmed", &further).await;
    let mut changed = detail.clone();
    changed["tenants"][0]["affected"]["subjects"] = json!(7);
    assert!(refused(&stack, "BreachConfirmed", &changed).await.contains("in another way"));
    changed["nature"] = json!("Nothing happened.");
    assert!(refused(&stack, "BreachConfirmed", &changed).await.contains("with another content"));

    for one in [&tenant, &late] {
        let email = one.email_of(Role::SuperAdmin);
        for text in [NOTICE, "stolen laptop", "It was encrypted"] {
            assert!(stack.mails_after_drain(&email, text).await, "{text}");
            assert_eq!(mails(&stack, &email, text).await, 1, "{text}");
        }
        let shown = incident(one.owner()).await;
        let told = shown["told"].as_array().unwrap();
        let texts: Vec<&Value> = told.iter().map(|one| &one["text"]).collect();
        assert_eq!(
            texts,
            [&Value::Null, &json!("It was a stolen laptop."), &json!("It was encrypted.")]
        );
    }
    assert_eq!(mails(&stack, &email, UPDATE).await, 2);

    // In the console: read by all but visitors, acknowledged by those who administer.
    let admin = tenant.user(Role::Admin);
    let listed = tenant.user(Role::Viewer).get("/v1/notices").await.expect(200).json();
    let kinds: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["breach_update", "breach_update", "breach"]);
    tenant.user(Role::Demo).get("/v1/notices").await.must(403);
    let path =
        format!("/v1/notices/{}/acknowledgement", listed["items"][2]["id"].as_str().unwrap());
    for role in [Role::OpsUser, Role::Viewer, Role::Demo] {
        tenant.user(role).request("POST", &path).send().await.must(403);
    }
    let first = admin.request("POST", &path).send().await.expect(200).json();
    assert_eq!(first["acknowledgements"][0]["by"], admin.claims()["sub"]);
    let again = admin.request("POST", &path).replayed().send().await.expect(200).json();
    assert_eq!(again, first);
    let both = tenant.owner().request("POST", &path).send().await.expect(200).json();
    assert_eq!(both["acknowledgements"].as_array().unwrap().len(), 2);
    let shown = incident(admin).await;
    assert_eq!(timeline(&shown).iter().filter(|what| **what == "acknowledged").count(), 2);
    report(&stack, &tenant, shown["id"].as_str().unwrap()).await;
    tenant.finish().await;
    late.finish().await;
}

/// The signed report says what the incident does.
async fn report(stack: &Stack, tenant: &Tenant<'_>, incident: &str) {
    let path = format!("/v1/incidents/{incident}/report");
    let ask = || tenant.user(Role::Admin).request("POST", &path).header("idempotency-key", "r1");
    let made = ask().send().await.expect(200).json();
    assert_eq!(ask().replayed().send().await.expect(200).json(), made, "made once");
    let (status, bytes) = stack.aws().fetch(made["url"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    let folder = Folder::new(tenant.slug());
    let file = folder.file(made["name"].as_str().unwrap(), &bytes);
    let verdict = pdfsig(&file);
    assert!(verdict.contains("Signature is Valid"), "{verdict}");
    assert!(verdict.contains("Total document signed"), "{verdict}");
    let verdict = pyhanko(stack, &file);
    assert!(verdict.contains(":INTACT:TRUSTED"), "{verdict}");
    let text = pdftotext(&file);
    for part in [
        incident,
        "A copy of a backup was read by somebody unknown.",
        "about 120 (contacts at customers)",
        "It was a stolen laptop.",
        "Una Daly, dpl@keystone.example, +35312345678",
        "target met",
        "mail sent to the primary contact",
        "acknowledged",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let sha256 = keystone::audit::merkle::Hash::of(&[&bytes]).to_string();
    assert_eq!(made["sha256"], sha256);
    let trail = Trail::read(stack, tenant.slug()).await;
    let entry = trail.entries.iter().find(|one| one.action == "incident_report.create").unwrap();
    assert_eq!(entry.delta[0].value, Some(json!(sha256)));
}

#[tokio::test]
async fn an_event_that_is_wrong_is_refused_and_leaves_nothing() {
    let stack = Stack::load();
    let tenant = stack.tenant("refused", &[]).await;
    let good = breach(&[tenant.slug()], 1);
    let with = |pointer: &str, value: Value| {
        let mut detail = good.clone();
        *detail.pointer_mut(pointer).unwrap() = value;
        detail
    };
    for (pointer, value) in [
        ("/incident", json!("7")),
        ("/confirmed_at", json!(hours_ago(-1))),
        ("/confirmed_at", json!(hours_ago(30 * 24 + 1))),
        ("/confirmed_at", json!("yesterday")),
        ("/nature", json!("")),
        ("/measures", json!("a\u{0}b")),
        ("/consequences", json!({ "$gt": "" })),
        ("/contact/email", json!("nobody")),
        ("/tenants", json!([])),
        ("/tenants/0/tenant", json!("keystone")),
        ("/tenants/0/tenant", json!("there-is-none")),
        ("/tenants/0/affected/subjects", json!(-1)),
        ("/tenants/0/affected/record_categories", json!([])),
    ] {
        let said = refused(&stack, "BreachConfirmed", &with(pointer, value)).await;
        assert!(said.contains("invalid-values") && said.contains(pointer), "{pointer}: {said}");
    }
    let mut two = good.clone();
    two["tenants"] = json!([good["tenants"][0], good["tenants"][0]]);
    assert!(refused(&stack, "BreachConfirmed", &two).await.contains("/tenants/1/tenant"));
    assert!(refused(&stack, "BreachForgotten", &good).await.contains("/detail-type"));
    let function = stack.function("notify-breach");
    let mut foreign = delivery("BreachConfirmed", &good);
    let body = foreign["Records"][0]["body"].as_str().unwrap();
    let body = body.replace("keystone.security", "somebody.else");
    foreign["Records"][0]["body"] = json!(body);
    let said = stack.aws().invoke_to_the_end(&function, &foreign).await.to_string();
    assert!(said.contains("invalid-values") && said.contains("/source"), "{said}");
    let plain = stack.aws().invoke_to_the_end(&function, &good).await;
    assert!(plain.to_string().contains("/Records"), "{plain}");

    let breaches = doc! { "_id": id(&good) };
    assert_eq!(count(&stack, "keystone", "breaches", breaches).await, 0);
    let deliveries = doc! { "breach_id": id(&good) };
    assert_eq!(count(&stack, "keystone", "breach_deliveries", deliveries).await, 0);
    for name in ["incidents", "notices"] {
        assert_eq!(count(&stack, tenant.slug(), name, doc! {}).await, 0, "{name}");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn one_that_does_not_exist_keeps_nobody_else_from_being_told() {
    let stack = Stack::load();
    let (tenant, mistyped) =
        futures::join!(stack.tenant("named-right", &[]), stack.tenant("named-wrong", &[]));
    let slugs = [tenant.slug(), "there-is-none", mistyped.slug()];
    let detail = breach(&slugs[..2], 1);
    // It fails at each delivery, so that it ends among the dead letters.
    let deliver = || refused(&stack, "BreachConfirmed", &detail);
    let (first, second) = futures::join!(deliver(), deliver());
    for said in [first, second, deliver().await] {
        assert!(said.contains("/tenants/1/tenant") && !said.contains("/tenants/0"), "{said}");
    }
    let email = tenant.email_of(Role::SuperAdmin);
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    assert_eq!(mails(&stack, &email, NOTICE).await, 1);
    assert_eq!(count(&stack, tenant.slug(), "incidents", doc! {}).await, 1);
    let deliveries = async || {
        let of = doc! { "breach_id": id(&detail) };
        count(&stack, "keystone", "breach_deliveries", of).await
    };
    assert_eq!(deliveries().await, 1);
    let confirmed = async || {
        let done = actions_about(&stack, id(&detail)).await;
        done.iter().filter(|action| *action == "breach.confirm").count()
    };
    assert_eq!(confirmed().await, 1);
    let unknown = async || {
        let breaches = collection(&stack, "keystone", "breaches").await;
        let found = breaches.find_one(doc! { "_id": id(&detail) }).await.unwrap().unwrap();
        found.get_array("unknown").unwrap().clone()
    };
    assert_eq!(unknown().await, [Bson::from("there-is-none")]);

    // A right event tells whom it meant; one that names nobody else is refused.
    let mut right = detail.clone();
    right["tenants"] = breach(&slugs[2..], 1)["tenants"].clone();
    notify(&stack, "BreachConfirmed", &right).await;
    assert!(stack.mails_after_drain(&mistyped.email_of(Role::SuperAdmin), NOTICE).await);
    assert_eq!((deliveries().await, confirmed().await), (2, 2));
    right["tenants"] = breach(&["nor-is-this"], 1)["tenants"].clone();
    assert!(refused(&stack, "BreachConfirmed", &right).await.contains("/tenants/0/tenant"));
    assert_eq!(unknown().await, [Bson::from("there-is-none")]);

    watch(&stack).await;
    watch(&stack).await;
    let done = actions_about(&stack, id(&detail)).await;
    assert_eq!(done.last().map(String::as_str), Some("breach.settle"), "{done:?}");
    tenant.finish().await;
    mistyped.finish().await;
}

/// The emulator takes messages through a queue's deliveries to its dead letters as
/// SQS does. On the deployed queue that lasts an hour, ten deliveries six minutes
/// apart; for this test an event that fails comes again after a second. That an
/// event is delivered twice meanwhile does no harm.
#[tokio::test]
async fn an_event_that_is_refused_for_good_ends_among_the_dead_letters() {
    let stack = Stack::load();
    let detail = breach(&["there-is-none"], 1);
    let queue = stack.aws().queue_of(&stack.function("notify-breach")).await;
    let (dead_letters, deliveries) = stack.aws().dead_letters_of(&queue).await;
    assert_eq!(deliveries, 10);
    assert!(stack.aws().take_message(&dead_letters, id(&detail)).await.is_none());
    let given_up = AssertUnwindSafe(async {
        stack.aws().deliver_again_after(&queue, 1).await;
        let bus = stack.value("BREACH_BUS");
        stack.aws().put_event(bus, "keystone.security", "BreachConfirmed", &detail).await;
        for _ in 0..150 {
            if let Some(message) = stack.aws().take_message(&dead_letters, id(&detail)).await {
                return Some(message);
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        None
    });
    let given_up = given_up.catch_unwind().await;
    // As template.yaml has it.
    stack.aws().deliver_again_after(&queue, 360).await;
    let message = given_up.unwrap_or_else(|panic| resume_unwind(panic)).unwrap();
    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["detail-type"], &body["detail"]), (&json!("BreachConfirmed"), &detail));
    let from = message["Attributes"]["DeadLetterQueueSourceArn"].as_str().unwrap();
    assert!(from.ends_with(queue.as_str()), "{from}");
    let breaches = doc! { "_id": id(&detail) };
    assert_eq!(count(&stack, "keystone", "breaches", breaches).await, 0);
}

#[tokio::test]
async fn a_notification_that_is_killed_anywhere_ends_like_one_that_is_not() {
    const TENANTS: usize = 12;
    let stack = Stack::load();
    let tenants: Vec<Tenant<'_>> = stream::iter(0..TENANTS)
        .map(|_| stack.unattended_tenant("killed"))
        .buffer_unordered(6)
        .collect()
        .await;
    let slugs: Vec<&str> = tenants.iter().map(Tenant::slug).collect();
    let detail = breach(&slugs, 1);
    let event = delivery("BreachConfirmed", &detail);
    let told = async || {
        let counts = join_all(slugs.iter().map(|slug| count(&stack, slug, "incidents", doc! {})));
        counts.await.iter().sum::<u64>()
    };
    let mut told_after = Vec::new();
    for kill in 0..9_u32 {
        let before = told().await;
        let mut function = Function::deployed(&stack, "notify-breach").await;
        function.begin(&event).await;
        // The first are killed on the way to the tenants, the others among them.
        if kill >= 3 {
            for _ in 0..500 {
                if told().await > before {
                    break;
                }
            }
        }
        function.kill_after(Duration::from_millis(7 * u64::from(kill % 3 * (kill + 1)))).await;
        // The transaction of a killed process would hold a tenant up until the
        // server ends it.
        let admin = stack.database().await.database("admin");
        admin.run_command(doc! { "killAllSessions": [] }).await.unwrap();
        told_after.push(told().await);
    }
    println!("tenants told after each kill: {told_after:?}");
    let amid = told_after.iter().any(|told| (1..12).contains(told));
    assert!(amid, "no kill came amid the tenants: {told_after:?}");
    notify(&stack, "BreachConfirmed", &detail).await;
    for slug in &slugs {
        let email = format!("super_admin@{slug}.example");
        assert!(stack.mails_after_drain(&email, NOTICE).await, "{slug}");
        assert_eq!(mails(&stack, &email, NOTICE).await, 1, "{slug}");
        assert_eq!(count(&stack, slug, "incidents", doc! {}).await, 1, "{slug}");
        assert_eq!(count(&stack, slug, "notices", doc! {}).await, 1, "{slug}");
        let trail = Trail::read(&stack, slug).await;
        trail.verify();
        let told = trail.entries.iter().filter(|entry| entry.action == "incident.notify");
        assert_eq!(told.count(), 1, "{slug}");
    }
    let of = doc! { "breach_id": id(&detail) };
    assert_eq!(count(&stack, "keystone", "breach_deliveries", of).await, 12);
    let confirmed = actions_about(&stack, id(&detail)).await;
    assert_eq!(confirmed.iter().filter(|action| *action == "breach.confirm").count(), 1);
    for tenant in tenants {
        tenant.close().await;
    }
}

#[tokio::test]
async fn an_event_on_the_bus_reaches_the_tenant() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("by-bus").await;
    let detail = breach(&[tenant.slug()], 1);
    let bus = stack.value("BREACH_BUS");
    // One whose name was mistyped, which the rule lets through and the function
    // refuses, then the right one.
    let began = clock::now();
    let mistyped = format!("BreachConfirmd-{}", tenant.slug());
    stack.aws().put_event(bus, "keystone.security", &mistyped, &detail).await;
    stack.aws().put_event(bus, "keystone.security", "BreachConfirmed", &detail).await;
    for _ in 0..300 {
        if count(&stack, tenant.slug(), "incidents", doc! {}).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let email = tenant.email_of(Role::SuperAdmin);
    assert!(stack.mails_after_drain(&email, NOTICE).await);
    assert_eq!(mails(&stack, &email, NOTICE).await, 1);
    let mut told = false;
    for _ in 0..100 {
        told = stack.logs(began - SignedDuration::from_secs(1)).await.contains(&mistyped);
        if told {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(told, "what is refused is named in the log");
    tenant.close().await;
}

#[tokio::test]
async fn the_watcher_tells_whom_a_run_did_not_reach() {
    let stack = Stack::load();
    let tenant = stack.tenant("unreached", &[]).await;
    let (slug, email) = (tenant.slug(), tenant.email_of(Role::SuperAdmin));
    let detail = breach(&[slug], 1);
    notify(&stack, "BreachConfirmed", &detail).await;
    // As if the run had died before it came to this tenant's second letter.
    let breaches = collection(&stack, "keystone", "breaches").await;
    let update = doc! { "text": "What is left to tell.", "at": clock::now().to_string() };
    let more = doc! { "$push": { "updates": update }, "$set": { "state": "open" } };
    breaches.update_one(doc! { "_id": id(&detail) }, more).await.unwrap();
    watch(&stack).await;
    assert!(stack.mails_after_drain(&email, "What is left to tell.").await);
    watch(&stack).await;
    assert_eq!(mails(&stack, &email, "What is left to tell.").await, 1);
    let known = delivered(&stack, id(&detail), slug).await;
    assert_eq!(known.get_array("letters").unwrap().len(), 2);
    tenant.finish().await;
}

#[tokio::test]
async fn a_notice_is_published_once_to_those_who_are_named() {
    let stack = Stack::load();
    let (one, other, apart) = futures::join!(
        stack.tenant("notice", &[]),
        stack.tenant("notice", &[]),
        stack.tenant("no-notice", &[])
    );
    let owner = one.owner();
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let security = json!({ "name": "Sean Fahy", "email": one.address_of("security") });
    let change = json!({ "contacts": { "security": security } });
    owner.patch("/v1/tenant", &etag, &change).await.must(200);
    let notice = json!({
        "operator": "test-operator",
        "id": keystone::random::id(clock::now()).unwrap(),
        "title": "Rotate your API passwords",
        "paragraphs": ["A library that integrations use leaked passwords.", "Change them."],
        "tenants": [one.slug()],
        "mail": true,
    });
    let function = stack.function("publish-notice");
    let publish = async |event: &Value| stack.aws().invoke_to_the_end(&function, event).await;
    let done = publish(&notice).await;
    assert_eq!(done, json!({ "tenants": 1, "before": 0, "unfinished": false }));
    let (again, third) = futures::join!(publish(&notice), publish(&notice));
    assert_eq!(
        (&again, &third),
        (&json!({ "tenants": 0, "before": 1, "unfinished": false }), &again)
    );
    let mut wrong = notice.clone();
    wrong["title"] = json!("Something else");
    assert!(publish(&wrong).await.to_string().contains("another notice"));
    wrong["tenants"] = json!([one.slug(), "there-is-none", "keystone"]);
    let said = publish(&wrong).await.to_string();
    assert!(said.contains("/tenants/1") && said.contains("/tenants/2"), "{said}");

    // Meanwhile another one goes to two.
    let mut second = notice.clone();
    second["id"] = json!(keystone::random::id(clock::now()).unwrap());
    second["tenants"] = json!([one.slug(), other.slug()]);
    second["mail"] = json!(false);
    assert_eq!(publish(&second).await["tenants"], 2);

    let notices = async |tenant: &Tenant<'_>| -> usize {
        let listed = tenant.owner().get("/v1/notices").await.expect(200).json();
        listed["items"].as_array().unwrap().len()
    };
    assert_eq!((notices(&one).await, notices(&other).await, notices(&apart).await), (2, 1, 0));
    let address = one.address_of("security");
    assert!(stack.mails_after_drain(&address, "leaked passwords").await);
    assert_eq!(mails(&stack, &address, "leaked passwords").await, 1);
    for tenant in [one, other, apart] {
        tenant.finish().await;
    }
}

#[tokio::test]
async fn trails_say_how_much_was_disclosed_to_whom() {
    let stack = Stack::load();
    let (tenant, apart) = futures::join!(
        stack.tenant("scope", &[Role::OpsUser, Role::Viewer]),
        stack.tenant("out-of-scope", &[])
    );
    let (owner, thief) = (tenant.owner(), tenant.user(Role::OpsUser));
    let mut customers = Vec::new();
    for n in 0..3 {
        let customer = samples::customer("1 Quay Street", &format!("+35386123450{n}"));
        customers.push(owner.post("/v1/customers", &customer).await.expect(201).id());
    }
    let before = clock::now();
    // Two customers, one of them twice, read by the stolen account; the third by
    // its owner, and masked by somebody else.
    for customer in [&customers[0], &customers[0], &customers[1]] {
        thief.get(&format!("/v1/customers/{customer}")).await.must(200);
    }
    owner.get(&format!("/v1/customers/{}", customers[2])).await.must(200);
    tenant.user(Role::Viewer).get(&format!("/v1/customers/{}", customers[2])).await.must(200);
    owner.get("/v1/tenant/data/customers?limit=2").await.must(200);

    let ask = async |question: Value| -> Value {
        let event = json!({
            "operator": "test-operator", "reason": "Incident 7", "question": question,
            "tenants": [tenant.slug(), apart.slug()],
        });
        stack.aws().invoke(&stack.function("scope-breach"), &event).await
    };
    let reads = |scope: &Value, category: &str| {
        let found = &scope["tenants"][tenant.slug()]["disclosed"][category];
        (found["reads"].clone(), found["records"].clone())
    };
    let user = ask(json!({ "user": thief.claims()["sub"] })).await;
    assert_eq!(reads(&user, "customer_contacts"), (json!(3), json!(2)), "{user}");
    assert_eq!(user["tenants"][apart.slug()]["entries"], 0, "{user}");
    assert_eq!(user["tenants"][tenant.slug()]["complete"], true);
    let session = ask(json!({ "session": owner.claims()["sid"] })).await;
    assert_eq!(reads(&session, "customer_contacts"), (json!(1), json!(1)), "{session}");
    assert_eq!(reads(&session, "exported_data"), (json!(1), json!(2)), "{session}");
    let address = ask(json!({ "ip": thief.address() })).await;
    assert_eq!(reads(&address, "customer_contacts"), (json!(3), json!(2)), "{address}");
    let window = ask(json!({ "from": before, "to": clock::now() })).await;
    assert_eq!(reads(&window, "customer_contacts"), (json!(4), json!(3)), "{window}");
    let users: BTreeMap<String, Value> = serde_json::from_value(window["tenants"].clone()).unwrap();
    assert_eq!(users[tenant.slug()]["users"].as_array().unwrap().len(), 2);

    // The tenant's own trail says who asked and why; nothing asks for all.
    let trail = tenant.audit_trail().await;
    let asked: Vec<&Value> =
        trail.iter().filter(|entry| entry["action"] == "audit_trail.scope").collect();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0]["actor"], json!({ "kind": "operator", "id": "test-operator" }));
    assert!(asked[0].to_string().contains("Incident 7"), "{}", asked[0]);
    for (question, field) in [
        (json!({}), "/question"),
        (json!({ "from": before }), "/question"),
        (json!({ "ip": "nowhere" }), "/question/ip"),
    ] {
        let event = json!({
            "operator": "o", "reason": "r", "question": question, "tenants": [tenant.slug()],
        });
        let failed = stack.aws().invoke_to_the_end(&stack.function("scope-breach"), &event).await;
        assert!(failed.to_string().contains(field), "{failed}");
    }
    tenant.finish().await;
    apart.finish().await;
}

//! SIGKILL amid the work of jobs: each that is run again ends in the same state
//! as one that nobody killed.
//!
//! A job is run once to its end on one set of tenants, then killed and run again
//! on another such set, and both are compared: entries of the trails by action,
//! documents by state, mails. Other jobs are killed in `breach.rs`, `closing.rs`,
//! `keys.rs`, `audit_exports.rs` and `data_subject_requests.rs`; `docs/architecture.md`
//! names them all. Nothing else may run beside these tests, since they end the
//! database's open transactions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use keystone::auth::user::MailedToken;
use keystone::tenant::Id;
use keystone::{calendar, clock, random};
use keystone_tests::breach::notify;
use keystone_tests::kills::{Run, collection, count, end_orphans, let_mail_leave, state_of};
use keystone_tests::runtime_api::Function;
use keystone_tests::{Stack, Tenant, bounce, samples, stack};
use mongodb::bson::{Bson, DateTime, Document, doc, serialize_to_bson};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Tenants, or other things, that a job works on: enough for a middle.
const MANY: usize = 8;
/// The same, to be compared with what the database counts.
const ALL: u64 = MANY as u64;
/// The tenant of the provider.
const PROVIDER: &str = "keystone";

/// Equal tenants, of which nobody has accepted an invitation.
async fn tenants<'s>(stack: &'s Stack, name: &str) -> Vec<Tenant<'s>> {
    stream::iter(0..MANY).map(|_| stack.unattended_tenant(name)).buffer_unordered(6).collect().await
}

fn slugs<'a>(tenants: &'a [Tenant<'_>]) -> Vec<&'a str> {
    tenants.iter().map(Tenant::slug).collect()
}

async fn close(tenants: Vec<Tenant<'_>>) {
    for tenant in tenants {
        tenant.close().await;
    }
}

/// Lets all mail leave, and compares: each tenant must have ended like the first
/// one of those on which nobody killed the job.
async fn have_ended_alike(stack: &Stack, clean: &[&str], killed: &[&str]) {
    let_mail_leave(stack, clean).await;
    let_mail_leave(stack, killed).await;
    let wanted = state_of(stack, clean[0]).await;
    for slug in &clean[1..] {
        assert_eq!(state_of(stack, slug).await, wanted, "{slug}, where nobody killed it");
    }
    for slug in killed {
        assert_eq!(state_of(stack, slug).await, wanted, "{slug}, where it was killed");
    }
}

/// What the provider's trail says was done to each of these, in order.
async fn done_to(stack: &Stack, ids: &[String]) -> Vec<Vec<String>> {
    let entries = collection(stack, "keystone_audit", "entries").await;
    let about = doc! { "entry.resource.id": { "$in": ids.to_vec() } };
    let found = entries.find(about).sort(doc! { "_id": 1 }).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    let mut done: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for document in &found {
        let entry = document.get_document("entry").unwrap();
        let about = entry.get_document("resource").unwrap().get_str("id").unwrap();
        done.entry(about).or_default().push(entry.get_str("action").unwrap().to_owned());
    }
    ids.iter().map(|id| done.remove(id.as_str()).unwrap_or_default()).collect()
}

/// How many entries with this action there are in the trails of these tenants.
async fn entries(stack: &Stack, slugs: &[&str], action: &str) -> u64 {
    let audits: Vec<String> = slugs.iter().map(|slug| format!("{slug}_audit")).collect();
    let audits: Vec<&str> = audits.iter().map(String::as_str).collect();
    count(stack, &audits, "entries", &doc! { "entry.action": action }).await
}

async fn set_state(stack: &Stack, slugs: &[&str], state: &str) {
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    for slug in slugs {
        let state = doc! { "$set": { "state": state } };
        let done = tenants.update_one(doc! { "_id": *slug }, state).await.unwrap();
        assert_eq!(done.matched_count, 1);
    }
}

fn in_hours(hours: i64) -> Timestamp {
    clock::now() + SignedDuration::from_hours(hours)
}

fn new_id() -> Id {
    random::id(clock::now()).unwrap()
}

/// Mails to the tenant's `super_admin` that say `text`.
async fn mails(stack: &Stack, slug: &str, text: &str) -> usize {
    let mails = stack.mails_to(&format!("super_admin@{slug}.example")).await;
    mails.iter().filter(|mail| mail.contains(text)).count()
}

#[tokio::test]
async fn a_notice_is_published_once_to_each() {
    let stack = Stack::load();
    let (clean, killed) =
        futures::join!(tenants(&stack, "clean-notice"), tenants(&stack, "kill-notice"));
    let (clean_slugs, killed_slugs) = (slugs(&clean), slugs(&killed));
    let id = new_id().to_string();
    let publish = |id: &str, slugs: &[&str]| Run {
        stack: &stack,
        name: "publish-notice",
        event: json!({
            "operator": "test-operator", "id": id, "title": "Rotate your API passwords",
            "paragraphs": ["A library leaked passwords."], "tenants": slugs, "mail": true,
        }),
    };
    let (done, took) = publish(&new_id().to_string(), &clean_slugs).whole().await;
    assert_eq!(done, json!({ "tenants": ALL, "before": 0, "unfinished": false }));

    let run = publish(&id, &killed_slugs);
    let published = async || count(&stack, &killed_slugs, "notices", &doc! {}).await;
    let after = run.killed(took, ALL, published).await;
    println!("tenants with the notice after each kill: {after:?}");
    let (done, _) = run.whole().await;
    let before = after.last().copied().unwrap();
    assert_eq!(done, json!({ "tenants": ALL - before, "before": before, "unfinished": false }));
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    assert_eq!(done_to(&stack, &[id]).await, [["announcement.publish"]]);
    assert_eq!(mails(&stack, killed_slugs[0], "leaked passwords").await, 1);
    close(clean).await;
    close(killed).await;
}

/// Confirms a breach of 25 hours ago of which these tenants were told, and then as
/// if a run had died, not of what became known later. None of their mail leaves.
async fn half_told(stack: &Stack, slugs: &[&str]) -> String {
    set_state(stack, slugs, "suspended").await;
    let mut detail = samples::breach(slugs);
    detail["confirmed_at"] = json!(in_hours(-25));
    notify(stack, "BreachConfirmed", &detail).await;
    let id = detail["incident"].as_str().unwrap().to_owned();
    let update = doc! { "text": "What is left to tell.", "at": clock::now().to_string() };
    let more = doc! { "$push": { "updates": update }, "$set": { "state": "open" } };
    let breaches = collection(stack, PROVIDER, "breaches").await;
    let done = breaches.update_one(doc! { "_id": &id }, more).await.unwrap();
    assert_eq!(done.modified_count, 1);
    id
}

/// Lets the mail about a breach leave, and the watcher read it back. Gives what was
/// done to the breach, and of each delivery what was done to it, the alarms and
/// the letters, in no certain order.
async fn settled(run: &Run<'_>, breach: &str, slugs: &[&str]) -> (Vec<String>, Vec<String>) {
    set_state(run.stack, slugs, "active").await;
    let_mail_leave(run.stack, slugs).await;
    for _ in 0..2 {
        run.whole().await;
    }
    let deliveries = collection(run.stack, PROVIDER, "breach_deliveries").await;
    let found = deliveries.find(doc! { "breach_id": breach }).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    let id = |delivery: &Document| delivery.get_str("_id").unwrap().to_owned();
    let ids: Vec<String> = found.iter().map(id).collect();
    let mut told = Vec::new();
    for (delivery, actions) in found.iter().zip(done_to(run.stack, &ids).await) {
        let letters = delivery.get_array("letters").unwrap();
        let state =
            |letter: &Bson| letter.as_document().unwrap().get_str("state").unwrap().to_owned();
        let letters: Vec<String> = letters.iter().map(state).collect();
        let alarms = delivery.get_array("alarms").unwrap();
        told.push(format!("{actions:?}, alarms {alarms:?}, letters {letters:?}"));
    }
    told.sort_unstable();
    let about = done_to(run.stack, &[breach.to_owned()]).await.remove(0);
    (about, told)
}

#[tokio::test]
async fn a_watch_of_breaches_tells_and_alarms_once() {
    let stack = Stack::load();
    let (clean, killed) =
        futures::join!(tenants(&stack, "clean-watch"), tenants(&stack, "kill-watch"));
    let (clean_slugs, killed_slugs) = (slugs(&clean), slugs(&killed));
    let run = Run { stack: &stack, name: "watch-breaches", event: json!({}) };
    let breach = half_told(&stack, &clean_slugs).await;
    let (_, took) = run.whole().await;
    let update = doc! { "kind": "breach_update" };
    assert_eq!(count(&stack, &clean_slugs, "notices", &update).await, ALL);
    let wanted = settled(&run, &breach, &clean_slugs).await;
    assert_eq!(wanted.0, ["breach.confirm", "breach.settle"]);
    assert_eq!(wanted.1.len(), MANY);
    let first = &wanted.1[0];
    assert!(first.contains("breach_delivery.alarm") && first.contains("24"), "{first}");

    let breach = half_told(&stack, &killed_slugs).await;
    let told = async || count(&stack, &killed_slugs, "notices", &update).await;
    let after = run.killed(took, ALL, told).await;
    println!("tenants told after each kill: {after:?}");
    run.whole().await;
    assert_eq!(settled(&run, &breach, &killed_slugs).await, wanted);
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    assert_eq!(mails(&stack, killed_slugs[0], "What is left to tell.").await, 1);
    close(clean).await;
    close(killed).await;
}

/// Tells these tenants of a breach by letters that come back, and then gives each
/// primary contact another address.
async fn mistyped(stack: &Stack, slugs: &[&str]) -> String {
    let detail = samples::breach(slugs);
    notify(stack, "BreachConfirmed", &detail).await;
    let_mail_leave(stack, slugs).await;
    for slug in slugs {
        let incidents = collection(stack, slug, "incidents").await;
        let incident = incidents.find_one(doc! {}).await.unwrap().unwrap();
        let told = incident.get_array("told").unwrap()[0].as_document().unwrap();
        let of = (*slug, told.get_str("mail_id").unwrap());
        let to = format!("super_admin@{slug}.example");
        let event = bounce::event("a-set", of, &to, ("Permanent", "General"));
        assert_eq!(bounce::record(stack, &event).await, 1);
        let right = doc! { "$set": { "contacts.primary.email": format!("right@{slug}.example") } };
        let settings = collection(stack, slug, "settings").await;
        assert_eq!(settings.update_one(doc! {}, right).await.unwrap().modified_count, 1);
    }
    detail["incident"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_letter_that_came_back_is_written_again_once() {
    let stack = Stack::load();
    let (clean, killed) =
        futures::join!(tenants(&stack, "clean-again"), tenants(&stack, "kill-again"));
    let (clean_slugs, killed_slugs) = (slugs(&clean), slugs(&killed));
    let run = Run { stack: &stack, name: "watch-breaches", event: json!({}) };
    let again = "incident.write_again";
    let breach = mistyped(&stack, &clean_slugs).await;
    let (_, took) = run.whole().await;
    assert_eq!(entries(&stack, &clean_slugs, again).await, ALL);
    let (done, wanted) = settled(&run, &breach, &clean_slugs).await;
    assert_eq!(done.last().map(String::as_str), Some("breach.settle"), "{done:?}");
    assert!(wanted[0].ends_with("letters [\"sent\"]"), "{}", wanted[0]);

    let breach = mistyped(&stack, &killed_slugs).await;
    let written = async || entries(&stack, &killed_slugs, again).await;
    let after = run.killed(took, ALL, written).await;
    println!("letters written again after each kill: {after:?}");
    run.whole().await;
    assert_eq!(written().await, ALL);
    let (done, _) = settled(&run, &breach, &killed_slugs).await;
    assert_eq!(done.last().map(String::as_str), Some("breach.settle"), "{done:?}");
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    for slug in &killed_slugs {
        let letters = stack.mails_to(&format!("right@{slug}.example")).await;
        let notices = letters.iter().filter(|letter| letter.contains("Art. 33(2) GDPR"));
        assert_eq!(notices.count(), 1, "{slug}");
    }
    close(clean).await;
    close(killed).await;
}

/// SES takes a message, and then the database is told. No transaction spans both,
/// so a process that dies in between leaves a message that is sent once more
/// (docs/adr/0028, Consequences): each arrives at least once, and at most one for
/// each kill arrives twice. The record of it is made once.
/// Lets notices of a breach wait while their tenants are suspended, as other mail
/// does.
async fn wait_like_others(stack: &Stack, slugs: &[&str]) {
    for slug in slugs {
        let outbox = collection(stack, slug, "outbox").await;
        let waits = doc! { "$set": { "though_suspended": false } };
        outbox.update_many(doc! { "state": "pending" }, waits).await.unwrap();
    }
}

#[tokio::test]
async fn no_mail_is_lost_and_a_kill_repeats_one_at_most() {
    const LETTERS: u64 = 12;
    let stack = Stack::load();
    let (clean, killed) = futures::join!(
        stack.unattended_tenant("clean-drain"),
        stack.unattended_tenant("kill-drain")
    );
    let both = [clean.slug(), killed.slug()];
    let_mail_leave(&stack, &both).await;
    // What waits leaves no suspended tenant.
    set_state(&stack, &both, "suspended").await;
    let detail = samples::breach(&both);
    notify(&stack, "BreachConfirmed", &detail).await;
    wait_like_others(&stack, &both).await;
    let mut texts = vec!["This is our notice under Art. 33(2) GDPR".to_owned()];
    for sequence in 1..LETTERS {
        let text = format!("Part {sequence} of what became known.");
        let update = json!({ "incident": detail["incident"], "sequence": sequence, "text": text });
        notify(&stack, "BreachUpdated", &update).await;
        wait_like_others(&stack, &both).await;
        texts.push(text);
    }
    let pending = doc! { "state": "pending" };
    for slug in both {
        assert_eq!(count(&stack, &[slug], "outbox", &pending).await, LETTERS);
    }
    let drain =
        |slug: &str| Run { stack: &stack, name: "drain-outbox", event: json!({ "tenant": slug }) };

    set_state(&stack, &[clean.slug()], "active").await;
    let (done, took) = drain(clean.slug()).whole().await;
    assert_eq!(done, json!({ "sent": LETTERS, "retried": 0, "failed": 0 }));

    set_state(&stack, &[killed.slug()], "active").await;
    let run = drain(killed.slug());
    // The invitation was sent before.
    let sent =
        async || count(&stack, &[killed.slug()], "outbox", &doc! { "state": "sent" }).await - 1;
    let after = run.killed(took, LETTERS, sent).await;
    println!("messages recorded as sent after each kill: {after:?}");
    // What a killed run was at is left alone for two minutes. They pass.
    let outbox = collection(&stack, killed.slug(), "outbox").await;
    let now = doc! { "$set": { "due_at": DateTime::from_millis(clock::now().as_millisecond()) } };
    outbox.update_many(pending.clone(), now).await.unwrap();
    let (done, _) = run.whole().await;
    let left = LETTERS - after.last().copied().unwrap();
    assert_eq!(done, json!({ "sent": left, "retried": 0, "failed": 0 }));

    let (mut wanted, mut found) =
        (state_of(&stack, clean.slug()).await, state_of(&stack, killed.slug()).await);
    let arrived = (wanted.remove("mails").unwrap(), found.remove("mails").unwrap());
    assert_eq!(found, wanted);
    for text in &texts {
        assert_eq!(mails(&stack, clean.slug(), text).await, 1, "{text}");
        let times = mails(&stack, killed.slug(), text).await;
        assert!((1..=2).contains(&times), "{text} arrived {times} times");
    }
    assert!(
        (arrived.0..=arrived.0 + after.len()).contains(&arrived.1),
        "{arrived:?} after {} kills",
        after.len()
    );
    // The watcher reads back that all were told, and looks at it no longer.
    stack.aws().invoke_to_the_end(&stack.function("watch-breaches"), &json!({})).await;
    close(vec![clean, killed]).await;
}

/// A change of sub-processors that is announced.
fn change() -> Value {
    let day = calendar::days_after(calendar::day_of(clock::now()), 30);
    json!({
        "operator": "Una",
        "change": new_id(),
        "sub_processor": {
            "name": format!("Ledger {} GmbH", hex::encode(stack::random::<4>())),
            "purpose": "Archiving of invoices",
            "data": "Billing contacts",
            "location": "Frankfurt",
            "countries": ["DE"],
            "safeguards": "EU processing",
            "contact": "dpo@ledger.example",
        },
        "effective_on": day,
    })
}

/// What came to each tenant since `before`, its mail included.
async fn news(
    stack: &Stack,
    slugs: &[&str],
    before: &[BTreeMap<String, usize>],
) -> Vec<BTreeMap<String, usize>> {
    let_mail_leave(stack, slugs).await;
    let mut news = Vec::new();
    for (slug, before) in slugs.iter().zip(before) {
        let mut state = state_of(stack, slug).await;
        for (what, count) in &mut state {
            *count -= before.get(what).copied().unwrap_or(0);
        }
        state.retain(|_, count| *count > 0);
        news.push(state);
    }
    news
}

async fn states(stack: &Stack, slugs: &[&str]) -> Vec<BTreeMap<String, usize>> {
    let_mail_leave(stack, slugs).await;
    let mut states = Vec::new();
    for slug in slugs {
        states.push(state_of(stack, slug).await);
    }
    states
}

// Every tenant of the stack is told.
#[tokio::test]
async fn a_sub_processor_is_announced_once_to_each() {
    let stack = Stack::load();
    let told = tenants(&stack, "kill-announce").await;
    let slugs = slugs(&told);
    let (first, second) = (change(), change());
    let checked = AssertUnwindSafe(announced_alike(&stack, &slugs, (&first, &second)));
    let checked = checked.catch_unwind().await;
    for change in [&first, &second] {
        let end = json!({
            "operator": "Una", "change": change["change"], "reason": "The test ended.",
        });
        stack.aws().invoke_to_the_end(&stack.function("withdraw-sub-processor"), &end).await;
    }
    checked.unwrap_or_else(|panic| resume_unwind(panic));
    close(told).await;
}

/// Announces one change in one run, the other in runs that are killed, to the same
/// tenants.
async fn announced_alike(stack: &Stack, slugs: &[&str], (first, second): (&Value, &Value)) {
    let announce =
        |change: &Value| Run { stack, name: "announce-sub-processor", event: change.clone() };
    let before = states(stack, slugs).await;
    let (done, took) = announce(first).whole().await;
    assert!(done["told"].as_u64() >= Some(ALL), "{done}");
    let wanted = news(stack, slugs, &before).await;

    let before = states(stack, slugs).await;
    let run = announce(second);
    let id = second["change"].as_str().unwrap();
    let notice = doc! { "_id": id };
    let told = async || count(stack, slugs, "sub_processor_notices", &notice).await;
    let after = run.killed(took, ALL, told).await;
    let (done, _) = run.whole().await;
    let left = ALL - after.last().copied().unwrap();
    assert!(done["told"].as_u64() >= Some(left), "{done} after {after:?}");
    assert_eq!(news(stack, slugs, &before).await, wanted);
    let name = second["sub_processor"]["name"].as_str().unwrap();
    for slug in slugs {
        assert_eq!(mails(stack, slug, name).await, 1, "{slug}");
    }
    let ids = [first["change"].as_str().unwrap().to_owned(), id.to_owned()];
    let announced = ["sub_processor_change.announce"];
    assert_eq!(done_to(stack, &ids).await, [announced, announced]);
}

/// Reports a vulnerability, and gives the report's id and the reporter's address.
async fn reported(stack: &Stack) -> (String, String) {
    let email = format!("finder-{}@example.org", hex::encode(stack::random::<6>()));
    let report = json!({
        "title": "Tokens in a log", "description": "A token can be read in a log.",
        "steps": "Read the log.", "email": email,
    });
    let stranger = stack.client().at(stack::address());
    let received = stranger.post("/v1/security/reports", &report).await.expect(201).json();
    let hash = MailedToken::from_text(received["token"].as_str().unwrap()).hash();
    let reports = collection(stack, PROVIDER, "vulnerability_reports").await;
    let stored = reports.find_one(doc! { "token_hash": hash }).await.unwrap().unwrap();
    (stored.get_str("_id").unwrap().to_owned(), email)
}

/// Reports of which both deadlines end within a day.
async fn nearly_late(stack: &Stack) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(reported(stack).await.0);
    }
    let soon = in_hours(20).to_string();
    let soon = doc! { "$set": { "acknowledge_by": &soon, "plan_by": &soon } };
    let reports = collection(stack, PROVIDER, "vulnerability_reports").await;
    let these = doc! { "_id": { "$in": ids.clone() } };
    assert_eq!(reports.update_many(these, soon).await.unwrap().modified_count, ALL);
    ids
}

/// The reminders of these reports that are recorded with them.
async fn reminded(stack: &Stack, ids: &[String]) -> u64 {
    let mut sum = 0;
    for what in ["watched.acknowledgement_reminded", "watched.plan_reminded"] {
        let done = doc! { "_id": { "$in": ids.to_vec() }, what: true };
        sum += count(stack, &[PROVIDER], "vulnerability_reports", &done).await;
    }
    sum
}

#[tokio::test]
async fn a_watch_of_reports_reminds_once_of_each_deadline() {
    let stack = Stack::load();
    let run = Run { stack: &stack, name: "watch-disclosures", event: json!({}) };
    let clean = nearly_late(&stack).await;
    let (_, took) = run.whole().await;
    assert_eq!(reminded(&stack, &clean).await, 2 * ALL);

    let killed = nearly_late(&stack).await;
    let after = run.killed(took, 2 * ALL, async || reminded(&stack, &killed).await).await;
    println!("reminders after each kill: {after:?}");
    run.whole().await;
    assert_eq!(reminded(&stack, &killed).await, 2 * ALL);

    let done = ["receive", "remind", "remind"].map(|verb| format!("vulnerability_report.{verb}"));
    let all: Vec<String> = clean.into_iter().chain(killed).collect();
    for (id, actions) in all.iter().zip(done_to(&stack, &all).await) {
        assert_eq!(actions, done, "{id}");
    }
    let_mail_leave(&stack, &[PROVIDER]).await;
    let settings = collection(&stack, PROVIDER, "settings").await;
    let settings = settings.find_one(doc! {}).await.unwrap().unwrap();
    let contacts = settings.get_document("contacts").unwrap();
    let contact = contacts.get_document("primary").unwrap().get_str("email").unwrap();
    // One came with the report, and one for each deadline.
    let letters = stack.mails_to(contact).await;
    for id in &all {
        assert_eq!(letters.iter().filter(|letter| letter.contains(id)).count(), 3, "{id}");
    }
    // Nobody answers them, and no later run needs to look at them.
    let reports = collection(&stack, PROVIDER, "vulnerability_reports").await;
    let over = doc! { "$set": { "state": "rejected" } };
    reports.update_many(doc! { "_id": { "$in": all } }, over).await.unwrap();
}

/// Tenants of whose contacts nobody has said for 181 days that they are right.
async fn with_duties<'s>(stack: &'s Stack, name: &str) -> Vec<Tenant<'s>> {
    let tenants = tenants(stack, name).await;
    let settings = Id::from_u128(1).to_string();
    let long_ago = in_hours(-24 * 181).to_string();
    for tenant in &tenants {
        let path = "contacts_confirmed_at";
        tenant.set_in_document("settings", "_id", &settings, path, long_ago.clone()).await;
    }
    tenants
}

#[tokio::test]
async fn each_tenant_is_reminded_once_of_its_duties() {
    let stack = Stack::load();
    let run = Run { stack: &stack, name: "watch-duties", event: json!({}) };
    let clean = with_duties(&stack, "clean-duties").await;
    let clean_slugs = slugs(&clean);
    let (_, took) = run.whole().await;
    assert_eq!(count(&stack, &clean_slugs, "duty_reminders", &doc! {}).await, ALL);

    let killed = with_duties(&stack, "kill-duties").await;
    let killed_slugs = slugs(&killed);
    let there = async || count(&stack, &killed_slugs, "duty_reminders", &doc! {}).await;
    let after = run.killed(took, ALL, there).await;
    println!("tenants reminded after each kill: {after:?}");
    run.whole().await;
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    for slug in &killed_slugs {
        assert_eq!(mails(&stack, slug, "only you can see to it").await, 1, "{slug}");
    }
    close(clean).await;
    close(killed).await;
}

/// The tenant's checkpoints by the size of the tree, and how many are archived.
async fn checkpoints(stack: &Stack, slug: &str) -> (Vec<i64>, usize) {
    let stored = collection(stack, &format!("{slug}_audit"), "checkpoints").await;
    let stored = stored.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let stored: Vec<Document> = stored.try_collect().await.unwrap();
    let sizes = stored.iter().map(|one| one.get_i64("_id").unwrap()).collect();
    let (bucket, prefix) = (stack.value("ARCHIVE_BUCKET"), format!("checkpoints/{slug}/"));
    let listed = stack.s3().list_objects_v2().bucket(bucket).prefix(prefix).send().await.unwrap();
    (sizes, listed.contents().len())
}

/// Tenants whose trails grow no more by themselves.
async fn at_rest<'s>(stack: &'s Stack, name: &str) -> Vec<Tenant<'s>> {
    let tenants = tenants(stack, name).await;
    let_mail_leave(stack, &slugs(&tenants)).await;
    tenants
}

#[tokio::test]
async fn each_trail_gets_one_checkpoint() {
    let stack = Stack::load();
    // It may fail on a trail that another test has tampered with.
    let run = Run { stack: &stack, name: "publish-checkpoints", event: json!({}) };
    let clean = at_rest(&stack, "clean-signed").await;
    let (_, took) = run.whole().await;
    let killed = at_rest(&stack, "kill-signed").await;
    let killed_slugs = slugs(&killed);
    let audits: Vec<String> = killed_slugs.iter().map(|slug| format!("{slug}_audit")).collect();
    let audits: Vec<&str> = audits.iter().map(String::as_str).collect();
    let stored = async || count(&stack, &audits, "checkpoints", &doc! {}).await;
    let after = run.killed(took, ALL, stored).await;
    println!("checkpoints after each kill: {after:?}");
    // Nothing has grown since, so the second run signs nothing.
    for _ in 0..2 {
        run.whole().await;
    }
    let clean_slugs = slugs(&clean);
    let wanted = checkpoints(&stack, clean_slugs[0]).await;
    assert_eq!((wanted.0.len(), wanted.1), (1, 1));
    for slug in clean_slugs.iter().chain(&killed_slugs) {
        assert_eq!(checkpoints(&stack, slug).await, wanted, "{slug}");
    }
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    close(clean).await;
    close(killed).await;
}

/// One event of the queue, with a message for each tenant: the invitation to its
/// `super_admin` came back.
async fn came_back(stack: &Stack, slugs: &[&str]) -> Value {
    let mut records = Vec::new();
    for slug in slugs {
        let outbox = collection(stack, slug, "outbox").await;
        let mail = outbox.find_one(doc! {}).await.unwrap().unwrap();
        let of = (*slug, mail.get_str("_id").unwrap());
        let to = format!("super_admin@{slug}.example");
        let event = bounce::event("a-set", of, &to, ("Permanent", "General"));
        records.push(json!({ "body": event.to_string() }));
    }
    json!({ "Records": records })
}

#[tokio::test]
async fn a_mail_that_comes_back_is_recorded_once() {
    let stack = Stack::load();
    let (clean, killed) =
        futures::join!(at_rest(&stack, "clean-bounce"), at_rest(&stack, "kill-bounce"));
    let (clean_slugs, killed_slugs) = (slugs(&clean), slugs(&killed));
    let name = "record-bounce";
    let run = Run { stack: &stack, name, event: came_back(&stack, &clean_slugs).await };
    let (done, took) = run.whole().await;
    assert_eq!(done, ALL);

    let run = Run { stack: &stack, name, event: came_back(&stack, &killed_slugs).await };
    let bounced = doc! { "state": "bounced" };
    let recorded = async || count(&stack, &killed_slugs, "outbox", &bounced).await;
    let after = run.killed(took, ALL, recorded).await;
    println!("bounces after each kill: {after:?}");
    let (done, _) = run.whole().await;
    assert_eq!(done, ALL - after.last().copied().unwrap());
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    close(clean).await;
    close(killed).await;
}

/// Kills the job at a part of the time that a whole run took: a quarter at first,
/// two whole ones at last.
async fn killed_after(run: &Run<'_>, quarters: u32, took: Duration) {
    let mut function = Function::deployed(run.stack, run.name).await;
    function.begin(&run.event).await;
    function.kill_after(took * quarters / 4).await;
    end_orphans(run.stack).await;
}

/// A step is one transaction, so a kill leaves all of it or nothing.
#[tokio::test]
async fn a_report_is_triaged_wholly_or_not_at_all() {
    let stack = Stack::load();
    let acknowledge = |id: &str| Run {
        stack: &stack,
        name: "triage-vulnerability",
        event: json!({
            "operator": "Una",
            "action": { "triage": { "report": id, "step": { "acknowledge": {} } } },
        }),
    };
    let (id, _) = reported(&stack).await;
    let (done, took) = acknowledge(&id).whole().await;
    assert_eq!(done, json!({ "state": "acknowledged" }));
    let reports = collection(&stack, PROVIDER, "vulnerability_reports").await;
    let stands = async |id: &str| {
        let found = reports.find_one(doc! { "_id": id }).await.unwrap().unwrap();
        found.get_str("state").unwrap().to_owned()
    };
    let (received, acknowledged) =
        ("vulnerability_report.receive", "vulnerability_report.acknowledge");
    let mut survived = Vec::new();
    for quarters in [1, 2, 3, 4, 5, 8] {
        let (id, email) = reported(&stack).await;
        let run = acknowledge(&id);
        killed_after(&run, quarters, took).await;
        let committed = stands(&id).await == "acknowledged";
        let done = done_to(&stack, std::slice::from_ref(&id)).await.remove(0);
        let letters = async || {
            let_mail_leave(&stack, &[PROVIDER]).await;
            let mails = stack.mails_to(&email).await;
            mails.iter().filter(|mail| mail.contains("look into it")).count()
        };
        if committed {
            assert_eq!(done, [received, acknowledged]);
        } else {
            assert_eq!(done, [received]);
        }
        assert_eq!(letters().await, usize::from(committed));
        survived.push(committed);

        // Again: it is done, or refused as done before.
        let (answer, _) = run.whole().await;
        assert_eq!(answer.to_string().contains("acknowledged before"), committed, "{answer}");
        assert_eq!(stands(&id).await, "acknowledged");
        let done = done_to(&stack, std::slice::from_ref(&id)).await.remove(0);
        assert_eq!(done, [received, acknowledged]);
        assert_eq!(letters().await, 1);
    }
    println!("kills that came after the commit: {survived:?}");
    assert!(survived.contains(&false) && survived.contains(&true), "{survived:?}");
}

/// Taking one in is one transaction as well, and the same again finds it by the
/// operator's id.
#[tokio::test]
async fn a_questionnaire_is_taken_in_once() {
    let stack = Stack::load();
    let take = |id: &str| Run {
        stack: &stack,
        name: "handle-questionnaire",
        event: json!({ "operator": "test-operator", "action": { "take": {
            "id": id, "organisation": "Retail plc", "contact": "buying@retail.example",
            "questionnaire": { "kind": "lite" },
        } } }),
    };
    let questionnaires = collection(&stack, PROVIDER, "questionnaires").await;
    // Without what differs between any two.
    let stored = async |id: &str| {
        let mut found = questionnaires.find_one(doc! { "_id": id }).await.unwrap()?;
        for own in ["_id", "created_at", "updated_at", "contact"] {
            found.remove(own).unwrap();
        }
        Some(found)
    };
    let clean = new_id().to_string();
    let (done, took) = take(&clean).whole().await;
    assert_eq!(done["id"], clean);
    let wanted = stored(&clean).await;
    assert!(wanted.is_some());
    let mut ids = vec![clean];
    let mut survived = Vec::new();
    for quarters in [1, 2, 3, 4, 5, 8] {
        let id = new_id().to_string();
        let run = take(&id);
        killed_after(&run, quarters, took).await;
        survived.push(stored(&id).await.is_some());
        let (again, _) = run.whole().await;
        assert_eq!(again, json!({ "id": id, "due_on": done["due_on"] }));
        assert_eq!(stored(&id).await, wanted);
        ids.push(id);
    }
    println!("kills that came after the commit: {survived:?}");
    for actions in done_to(&stack, &ids).await {
        assert_eq!(actions, ["questionnaire.take"]);
    }
    // None may be late one day because nobody answers it.
    let over = doc! { "$set": { "state": "issued" } };
    questionnaires.update_many(doc! { "_id": { "$in": ids } }, over).await.unwrap();
    assert!(survived.contains(&false) && survived.contains(&true), "{survived:?}");
}

/// A posture is one transaction, at the end of the run.
#[tokio::test]
async fn a_posture_is_published_wholly_or_not_at_all() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("kill-posture").await;
    let_mail_leave(&stack, &[tenant.slug()]).await;
    let before = state_of(&stack, tenant.slug()).await;
    let run = Run { stack: &stack, name: "check-posture", event: json!({}) };
    let postures = collection(&stack, "keystone_audit", "postures").await;
    // The documents, and the entries of their publication.
    let published = async || {
        let documents = postures.count_documents(doc! {}).await.unwrap();
        (documents, entries(&stack, &[PROVIDER], "posture.publish").await)
    };
    // Each control of the newest with how many checks it has.
    let newest = async || {
        let newest = postures.find_one(doc! {}).sort(doc! { "_id": -1 }).await.unwrap().unwrap();
        let document: Value = serde_json::from_str(newest.get_str("document").unwrap()).unwrap();
        let controls = document["controls"].as_array().unwrap().iter();
        let checks =
            controls.map(|one| (one["id"].clone(), one["results"].as_array().map(Vec::len)));
        checks.collect::<Vec<_>>()
    };
    let first = published().await;
    let (done, took) = run.whole().await;
    assert!(done["sha256"].is_string(), "{done}");
    let clean = published().await;
    assert_eq!(clean, (first.0 + 1, first.1 + 1));
    let wanted = newest().await;

    let mut amid = 0;
    for quarters in [1, 2, 3] {
        killed_after(&run, quarters, took).await;
        if published().await != clean {
            break;
        }
        amid += 1;
    }
    println!("kills that came before the commit: {amid}");
    assert!(amid > 0, "no kill came amid the work");
    if published().await == clean {
        run.whole().await;
    }
    assert_eq!(published().await, (clean.0 + 1, clean.1 + 1));
    assert_eq!(newest().await, wanted);
    // What it tried on the tenants left nothing there.
    let_mail_leave(&stack, &[tenant.slug()]).await;
    assert_eq!(state_of(&stack, tenant.slug()).await, before);
    close(vec![tenant]).await;
}

/// Tenants at rest, each with a questionnaire whose date has passed; and their ids.
async fn with_late_questionnaires<'s>(
    stack: &'s Stack,
    name: &str,
) -> (Vec<Tenant<'s>>, Vec<String>) {
    let tenants = at_rest(stack, name).await;
    let now = DateTime::from_millis(clock::now().as_millisecond());
    let mut ids = Vec::new();
    for tenant in &tenants {
        let id = new_id().to_string();
        let asked = doc! {
            "_id": &id, "tenant_id": tenant.slug(), "version": 1_i64,
            "created_at": now, "updated_at": now,
            "kind": "lite", "templates": "of a test", "organisation": "Retail plc",
            "contact": Bson::Null, "received_on": "2026-01-02", "due_on": "2026-01-07",
            "state": "received", "questions": [], "controls": {}, "answers": [],
            "issued_at": Bson::Null,
        };
        let questionnaires = collection(stack, tenant.slug(), "questionnaires").await;
        questionnaires.insert_one(asked).await.unwrap();
        ids.push(id);
    }
    (tenants, ids)
}

#[tokio::test]
async fn a_posture_tells_once_of_each_late_questionnaire() {
    let stack = Stack::load();
    let run = Run { stack: &stack, name: "check-posture", event: json!({}) };
    let (clean, mut ids) = with_late_questionnaires(&stack, "clean-asked").await;
    let clean_slugs = slugs(&clean);
    let recorded = doc! { "missed_at": { "$ne": Bson::Null } };
    // They come first in a run, most of which is about something else.
    let mut function = Function::deployed(&stack, run.name).await;
    function.begin(&run.event).await;
    let begun = Instant::now();
    while count(&stack, &clean_slugs, "questionnaires", &recorded).await < ALL {}
    let took = begun.elapsed();
    function.answer_within(Duration::from_mins(2)).await;

    let (killed, others) = with_late_questionnaires(&stack, "kill-asked").await;
    let killed_slugs = slugs(&killed);
    let told = async || count(&stack, &killed_slugs, "questionnaires", &recorded).await;
    let after = run.killed(took, ALL, told).await;
    println!("questionnaires told of after each kill: {after:?}");
    run.whole().await;
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    for slug in clean_slugs.iter().chain(&killed_slugs) {
        assert_eq!(entries(&stack, &[*slug], "questionnaire.miss").await, 1, "{slug}");
    }
    ids.extend(others);
    let letters = stack.mails_to(&stack.security_contact().await).await;
    for id in &ids {
        let said = format!("the questionnaire {id} was due on");
        assert_eq!(letters.iter().filter(|letter| letter.contains(&said)).count(), 1, "{id}");
    }
    close(clean).await;
    close(killed).await;
}

#[tokio::test]
async fn a_check_of_the_trails_leaves_one_entry_in_each() {
    let stack = Stack::load();
    // It may fail on a trail that another test has tampered with.
    let run = Run { stack: &stack, name: "audit-self-check", event: json!({}) };
    let clean = at_rest(&stack, "clean-checked").await;
    let clean_slugs = slugs(&clean);
    let (_, took) = run.whole().await;
    let check = "audit_trail.check";
    assert_eq!(entries(&stack, &clean_slugs, check).await, ALL);

    let killed = at_rest(&stack, "kill-checked").await;
    let killed_slugs = slugs(&killed);
    let checked = async || entries(&stack, &killed_slugs, check).await;
    let after = run.killed(took, ALL, checked).await;
    println!("trails checked after each kill: {after:?}");
    let ended = entries(&stack, &[PROVIDER], "audit_trails.check").await;
    run.whole().await;
    assert_eq!(entries(&stack, &[PROVIDER], "audit_trails.check").await, ended + 1);
    for &slug in clean_slugs.iter().chain(&killed_slugs) {
        assert_eq!(entries(&stack, &[slug], check).await, 1, "{slug}");
    }
    have_ended_alike(&stack, &clean_slugs, &killed_slugs).await;
    close(clean).await;
    close(killed).await;
}

/// Tells the tenant `slug` of a change, to which it objects.
async fn objection(stack: &Stack, slug: &str, change: &str, described: &Document, day: &str) {
    let now = DateTime::from_millis(clock::now().as_millisecond());
    let objection = doc! {
        "by": new_id().to_string(), "at": clock::now().to_string(), "reason": "Not there.",
        "outcome": Bson::Null, "settled_at": Bson::Null,
    };
    let told = doc! {
        "_id": change, "tenant_id": slug, "version": 1_i64, "created_at": now, "updated_at": now,
        "description": described, "effective_on": day, "mail": new_id().to_string(),
        "objection": objection,
    };
    collection(stack, slug, "sub_processor_notices").await.insert_one(told).await.unwrap();
}

/// Changes of sub-processors whose day has come, and of which nobody had to be
/// told, but for the tenant that is `objecting`: they are older than every tenant.
async fn due_changes(stack: &Stack, objecting: Option<&str>) -> Vec<String> {
    let changes = collection(stack, PROVIDER, "sub_processor_changes").await;
    let long_ago = DateTime::from_millis(in_hours(-24 * 3650).as_millisecond());
    let today = calendar::day_of(clock::now()).to_string();
    let mut ids = Vec::new();
    for _ in 0..MANY {
        let id = new_id().to_string();
        let description = serialize_to_bson(&change()["sub_processor"]).unwrap();
        if let Some(slug) = objecting {
            let described = description.as_document().unwrap();
            objection(stack, slug, &id, described, &today).await;
        }
        let announced = doc! {
            "_id": &id, "tenant_id": PROVIDER, "version": 1_i64,
            "created_at": long_ago, "updated_at": long_ago,
            "description": description, "state": "announced", "effective_on": &today,
            "activated_at": Bson::Null, "withdrawn_at": Bson::Null, "reason": Bson::Null,
        };
        changes.insert_one(announced).await.unwrap();
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn a_sub_processor_takes_effect_once() {
    let stack = Stack::load();
    let run = Run { stack: &stack, name: "watch-disclosures", event: json!({}) };
    let active = async |ids: &[String]| {
        let active = doc! { "_id": { "$in": ids.to_vec() }, "state": "active", "version": 2_i64 };
        count(&stack, &[PROVIDER], "sub_processor_changes", &active).await
    };
    let clean = due_changes(&stack, None).await;
    let (_, took) = run.whole().await;
    assert_eq!(active(&clean).await, ALL);

    let killed = due_changes(&stack, None).await;
    let after = run.killed(took, ALL, async || active(&killed).await).await;
    println!("changes in effect after each kill: {after:?}");
    run.whole().await;
    assert_eq!(active(&killed).await, ALL);
    let all: Vec<String> = clean.into_iter().chain(killed).collect();
    for (id, actions) in all.iter().zip(done_to(&stack, &all).await) {
        assert_eq!(actions, ["sub_processor_change.activate"], "{id}");
    }
    // The public list is to name them no longer.
    let changes = collection(&stack, PROVIDER, "sub_processor_changes").await;
    let over = doc! { "$set": { "state": "withdrawn" } };
    changes.update_many(doc! { "_id": { "$in": all } }, over).await.unwrap();
}

#[tokio::test]
async fn open_objections_are_called_to_mind_once() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("kill-objects").await;
    let objecting = Some(tenant.slug());
    let run = Run { stack: &stack, name: "watch-disclosures", event: json!({}) };
    let told = async |ids: &[String]| {
        let told = doc! {
            "_id": { "$in": ids.to_vec() }, "state": "announced",
            "held_up_at": { "$ne": Bson::Null },
        };
        count(&stack, &[PROVIDER], "sub_processor_changes", &told).await
    };
    let clean = due_changes(&stack, objecting).await;
    let (_, took) = run.whole().await;
    assert_eq!(told(&clean).await, ALL);

    let killed = due_changes(&stack, objecting).await;
    let after = run.killed(took, ALL, async || told(&killed).await).await;
    println!("changes called to mind after each kill: {after:?}");
    run.whole().await;
    assert_eq!(told(&killed).await, ALL);
    let all: Vec<String> = clean.into_iter().chain(killed).collect();
    for (id, actions) in all.iter().zip(done_to(&stack, &all).await) {
        assert_eq!(actions, ["sub_processor_change.hold_up"], "{id}");
    }
    let_mail_leave(&stack, &[PROVIDER]).await;
    let letters = stack.mails_to(&stack.security_contact().await).await;
    for id in &all {
        assert_eq!(letters.iter().filter(|letter| letter.contains(id)).count(), 1, "{id}");
    }
    // No later run is to look at them.
    let changes = collection(&stack, PROVIDER, "sub_processor_changes").await;
    let over = doc! { "$set": { "state": "withdrawn" } };
    changes.update_many(doc! { "_id": { "$in": all } }, over).await.unwrap();
    close(vec![tenant]).await;
}

/// Provisioning is many steps, each done unless it is.
#[tokio::test]
async fn a_tenant_that_was_half_made_is_finished() {
    let stack = Stack::load();
    let slug = |name: &str| format!("{name}-{}", hex::encode(stack::random::<4>()));
    let provision = |slug: &str| {
        let owner = json!({ "name": "Orla Byrne", "email": format!("super_admin@{slug}.example") });
        let event = json!({
            "operator": "test-operator", "tenant": slug, "legal_name": format!("{slug} Ltd"),
            "country": "IE", "contacts": { "primary": owner }, "super_admin": owner,
        });
        Run { stack: &stack, name: "provision-tenant", event }
    };
    // The first is slower than those that follow.
    let warm = slug("warm-made");
    provision(&warm).whole().await;
    let clean = slug("clean-made");
    let (done, took) = provision(&clean).whole().await;
    assert_eq!(done, json!({ "tenant": clean, "created": true }));
    let mut made = Vec::new();
    let mut finished = Vec::new();
    for quarters in [1, 2, 3, 4, 8] {
        let slug = slug("kill-made");
        let run = provision(&slug);
        killed_after(&run, quarters, took).await;
        let (done, _) = run.whole().await;
        assert_eq!(done["tenant"], slug, "{done}");
        finished.push(done["created"].clone());
        made.push(slug);
    }
    println!("half made when they were killed: {finished:?}");
    assert!(finished.contains(&json!(true)), "{finished:?}");
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    have_ended_alike(&stack, &[clean.as_str()], &made).await;
    set_state(&stack, &[warm.as_str(), clean.as_str()], "closed").await;
    set_state(&stack, &made, "closed").await;
}

/// Where the registry says that the tenant stands.
async fn standing(stack: &Stack, slug: &str) -> String {
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    let found = tenants.find_one(doc! { "_id": slug }).await.unwrap().unwrap();
    found.get_str("state").unwrap().to_owned()
}

/// To begin a closing, and to call it off, touches registry, tenant and the table of
/// secrets, one after the other.
#[tokio::test]
async fn a_closing_is_begun_and_called_off_once() {
    let stack = Stack::load();
    let closing = |slug: &str, action: &str| Run {
        stack: &stack,
        name: "close-tenant",
        event: json!({
            "operator": "test-operator", "tenant": slug, "action": action,
            "reason": "The contract ended.",
        }),
    };
    let clean = stack.unattended_tenant("clean-closing").await;
    let killed = tenants(&stack, "kill-closing").await;
    let killed_slugs = slugs(&killed);
    for (action, state) in [("begin", "closing"), ("call_off", "active")] {
        let (done, took) = closing(clean.slug(), action).whole().await;
        assert_eq!(done["state"], state, "{done}");
        for (quarters, slug) in (1..).zip(&killed_slugs) {
            let run = closing(slug, action);
            killed_after(&run, quarters, took).await;
            let survived = standing(&stack, slug).await == state;
            let (again, _) = run.whole().await;
            // What was called off is refused as not being closed.
            let refused = again.to_string().contains("is not being closed");
            let done = again["state"] == state;
            assert!(done || (survived && refused), "{action} after {quarters}/4: {again}");
            assert_eq!(standing(&stack, slug).await, state);
        }
        have_ended_alike(&stack, &[clean.slug()], &killed_slugs).await;
    }
    close(vec![clean]).await;
    close(killed).await;
}

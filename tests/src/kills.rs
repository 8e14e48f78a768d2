//! Jobs that are killed with SIGKILL while they work, and what a tenant looks
//! like when they were run again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Stack;
use crate::runtime_api::Function;
use crate::trail::Trail;

/// Processes of a job that are killed at most.
const KILLS: u32 = 8;
/// Longest time that a run takes which nobody kills.
const PATIENCE: Duration = Duration::from_mins(2);

/// A job and its event, run in processes of its own.
pub struct Run<'a> {
    /// Where.
    pub stack: &'a Stack,
    /// Name of the function.
    pub name: &'a str,
    /// What it is run with.
    pub event: Value,
}

impl Run<'_> {
    /// Runs the job to its end. Its answer, which may be a failure on a tenant that
    /// is none of the test's, and how long it took.
    pub async fn whole(&self) -> (Value, Duration) {
        let mut function = Function::deployed(self.stack, self.name).await;
        function.begin(&self.event).await;
        let begun = Instant::now();
        let answer = function.answer_within(PATIENCE).await;
        (answer, begun.elapsed())
    }

    /// Kills up to eight runs, one after the other, until nothing is left to do.
    /// By turns they die at a part of the time that a whole run `took`, an eighth
    /// more each time, and as soon as they had an effect. One must have died amid
    /// its work, with some of the `whole` effects there and not all; otherwise they
    /// prove nothing. Returns how many effects there were after each.
    pub async fn killed(
        &self,
        took: Duration,
        whole: u64,
        effects: impl AsyncFn() -> u64,
    ) -> Vec<u64> {
        let mut there = effects().await;
        assert_eq!(there, 0, "{} has run before", self.name);
        let mut after = Vec::new();
        for kill in 1..=KILLS {
            let mut function = Function::deployed(self.stack, self.name).await;
            function.begin(&self.event).await;
            if kill % 2 == 1 {
                function.kill_after(took * kill / KILLS).await;
            } else {
                let first = async { while effects().await == there {} };
                // A run without any effect is killed all the same.
                let patience = took * 3 + Duration::from_secs(5);
                let _ = tokio::time::timeout(patience, first).await;
                function.kill_after(Duration::ZERO).await;
            }
            end_orphans(self.stack).await;
            there = effects().await;
            after.push(there);
            if there >= whole {
                break;
            }
        }
        let amid = after.iter().any(|there| (1..whole).contains(there));
        assert!(amid, "no kill came amid the work of {}: {after:?} of {whole}", self.name);
        after
    }
}

/// Ends the transactions that killed processes left open, which would hold their
/// tenants up until the server ends them. What such a process had sent may arrive
/// a moment after its end. Nothing else may run meanwhile (see
/// .config/nextest.toml).
pub async fn end_orphans(stack: &Stack) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let admin = stack.database().await.database("admin");
    admin.run_command(doc! { "killAllSessions": [] }).await.expect("the database answers");
}

/// A collection of the tenant `slug`.
pub async fn collection(stack: &Stack, slug: &str, name: &str) -> Collection<Document> {
    stack.database().await.database(&format!("t_{slug}")).collection(name)
}

/// How many documents of these tenants' collections `name` fit `filter`.
pub async fn count(stack: &Stack, slugs: &[&str], name: &str, filter: &Document) -> u64 {
    let mut sum = 0;
    for slug in slugs {
        let found = collection(stack, slug, name).await.count_documents(filter.clone()).await;
        sum += found.expect("the database answers");
    }
    sum
}

/// Lets all mail of these tenants leave.
pub async fn let_mail_leave(stack: &Stack, slugs: &[&str]) {
    let waiting = doc! { "state": "pending" };
    let mut left = 0;
    for _ in 0..100 {
        stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
        left = count(stack, slugs, "outbox", &waiting).await;
        if left == 0 {
            return;
        }
        // Another run may be sending it right now.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(left, 0, "messages still wait");
}

/// What there is of the tenant `slug`, counted: the entries of its trail by their
/// action, the documents of each collection by their state, the mails to its
/// `super_admin`. Its trail must be whole.
pub async fn state_of(stack: &Stack, slug: &str) -> BTreeMap<String, usize> {
    let mut state: BTreeMap<String, usize> = BTreeMap::new();
    let trail = Trail::read(stack, slug).await;
    trail.verify();
    // The check of all trails may come by at any time.
    for entry in trail.entries.iter().filter(|entry| entry.action != "audit_trail.check") {
        *state.entry(format!("entries: {}", entry.action)).or_default() += 1;
    }
    let database = stack.database().await.database(&format!("t_{slug}"));
    for name in database.list_collection_names().await.expect("the database answers") {
        let found = database.collection::<Document>(&name).find(doc! {}).await;
        let found: Vec<Document> =
            found.expect("it answers").try_collect().await.expect("it answers");
        for document in &found {
            let in_state = document.get_str("state").unwrap_or("of no state");
            *state.entry(format!("{name}: {in_state}")).or_default() += 1;
        }
    }
    let mails = stack.mails_to(&format!("super_admin@{slug}.example")).await;
    state.insert("mails".to_owned(), mails.len());
    state
}

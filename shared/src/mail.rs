//! Mail: what a message is, how it waits in the outbox, how it leaves.
//!
//! A message is written into the tenant's outbox in the transaction of the
//! change that it tells of, sealed, because it may carry a token. A job sends
//! what is due, at least once; another records what came back (docs/adr/0042).

use std::time::Duration;

use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message, MessageTag};
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::Setting;
use crate::crypto::{CryptoError, Place, Sealed, Subject, at_rest};
use crate::platform::Platform;
use crate::tenant::{Entity, Id, StoreError, Stored, Tenant, WriteTx, bson_time, schema};
use crate::{Problem, telemetry};

/// How long a message being sent is left alone by other runs of the job.
const LEASE: SignedDuration = SignedDuration::from_mins(2);
/// After so many failures a message is given up and shown as failed: after four
/// hours.
const ATTEMPTS: i32 = 10;
/// The same of a message that leaves though the tenant is suspended: after 74 hours,
/// which is longer than a notice of a breach may take.
const ATTEMPTS_THOUGH_SUSPENDED: i32 = 80;
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The tag with which SES says whose outbox a message was in.
pub const TENANT_TAG: &str = "tenant";
/// The tag with which SES says which message of the outbox it was.
pub const MAIL_TAG: &str = "mail";

/// A message to one person, in plain text and HTML.
#[derive(Serialize, Deserialize)]
pub struct Mail {
    /// Address of the recipient.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "MailState")]
pub enum State {
    /// Waits for its first attempt, or for another.
    Pending,
    /// The mail service took it.
    Sent,
    /// Given up after the last attempt.
    Failed,
    /// It came back: the mail service took it, the recipient's did not.
    Bounced,
}

impl State {
    /// Whether the message is known not to have arrived.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Failed | Self::Bounced)
    }
}

/// A message in the outbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queued {
    state: State,
    due_at: DateTime,
    attempts: i32,
    /// Whether it leaves while the tenant is suspended, too. Absent where it does
    /// not, as in messages of releases before this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    though_suspended: bool,
    #[serde(with = "at_rest")]
    message: Sealed<Mail>,
}

impl Entity for Queued {
    const COLLECTION: &'static schema::Collection = &schema::OUTBOX;
    const RESOURCE: &'static str = "mail";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Queued {
    /// After so many failures it is given up.
    const fn attempts_at_most(&self) -> i32 {
        if self.though_suspended { ATTEMPTS_THOUGH_SUSPENDED } else { ATTEMPTS }
    }
}

/// How far a message came, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MailProgress")]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// When it was sent or given up, or came back; while it waits, when it was
    /// written.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// How far the message `id` came; `None` when the outbox has none.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn progress(tenant: &Tenant, id: Id) -> Result<Option<Progress>, StoreError> {
    let found = tenant.get::<Queued>(id).await?;
    Ok(found.map(|queued| Progress { state: queued.entity.state, since: queued.updated_at }))
}

/// Whether the message `id` was to go to `address`. Nobody can tell of one that opens
/// no more: it counts as if it was, unless whom it was for was erased.
///
/// # Errors
/// [`StoreError`] when a store does not answer.
pub async fn was_for(tenant: &Tenant, id: Id, address: &str) -> Result<bool, StoreError> {
    let Some(queued) = tenant.get::<Queued>(id).await? else { return Ok(false) };
    match tenant.open(place(id), &queued.entity.message).await {
        Ok(mail) => Ok(mail.expose().to == address),
        Err(CryptoError::Erased) => Ok(false),
        Err(CryptoError::Store(error)) => Err(error),
        Err(_) => Ok(true),
    }
}

fn place(id: Id) -> Place<'static> {
    Place { collection: schema::OUTBOX.name, document: id, field: "message" }
}

/// Puts `mail`, which is about `subject`, into the outbox, to leave when the
/// transaction is committed, or once the tenant is no longer suspended. Returns its
/// id, by which [`progress`] finds it.
///
/// # Errors
/// [`StoreError`] when it cannot be sealed or stored.
pub async fn enqueue(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    subject: Subject,
    mail: &Mail,
) -> Result<Id, StoreError> {
    let id = crate::random::id(now)?;
    // Boxed, so that the transaction around it stays small.
    Box::pin(put(tx, now, id, (subject, mail), false)).await
}

/// As [`enqueue`], for what does not wait until the tenant is no longer suspended: a
/// notice of a breach, over which it may have been suspended, or of a sub-processor,
/// since its data is processed all the same; a deadline of a person's request about
/// their data, which runs on; a letter to our own people.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_though_suspended(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    subject: Subject,
    mail: &Mail,
) -> Result<Id, StoreError> {
    let id = crate::random::id(now)?;
    Box::pin(put(tx, now, id, (subject, mail), true)).await
}

/// As [`enqueue_though_suspended`], for what is written again because the message
/// `lost` did not arrive. Its id follows from that one's, so there is one at most.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_again(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    (subject, mail): (Subject, &Mail),
    lost: Id,
) -> Result<Id, StoreError> {
    let id = Id::derived(lost.made_at(), &["mail_again", &lost.to_string()]);
    Box::pin(put(tx, now, id, (subject, mail), true)).await
}

/// Ends a message that still waits, because another stands for it.
///
/// # Errors
/// [`StoreError::Stale`] when it is being sent at this moment.
pub async fn withdraw(tx: &mut WriteTx<'_>, id: Id) -> Result<(), StoreError> {
    match tx.get::<Queued>(id).await? {
        Some(queued) if queued.entity.state == State::Pending => tx.give_mail_up(&queued).await,
        _ => Ok(()),
    }
}

async fn put(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    id: Id,
    (subject, mail): (Subject, &Mail),
    though_suspended: bool,
) -> Result<Id, StoreError> {
    let message = tx.tenant().seal(place(id), subject, mail).await?;
    let queued = Queued {
        state: State::Pending,
        due_at: bson_time(now),
        attempts: 0,
        though_suspended,
        message,
    };
    tx.keep(id, queued).await?;
    Ok(id)
}

/// What one run of the job did for a tenant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Messages handed to the mail service.
    pub sent: u32,
    /// Messages that the mail service did not take; they are tried again.
    pub retried: u32,
    /// Messages given up.
    pub failed: u32,
}

/// Sends the tenant's due messages, of a suspended one those that do not wait, at
/// most `limit` of them, and begins none at `deadline` or later: a run that is ended
/// between the sending of a message and its record sends it again.
///
/// # Errors
/// [`Problem`] when a store does not answer; what was sent is recorded, and what
/// could not be opened for that was not tried.
pub async fn deliver_due(
    platform: &Platform,
    tenant: &Tenant,
    by: &crate::tenant::Attribution,
    limit: u32,
    deadline: Instant,
) -> Result<Delivered, Problem> {
    let mut done = Delivered::default();
    for _ in 0..limit {
        if Instant::now() >= deadline {
            break;
        }
        let Some(queued) = tenant.claim_due_mail(by.now, LEASE).await? else { break };
        let opened = tenant.open(place(queued.id), &queued.entity.message).await;
        if let Err(CryptoError::Store(StoreError::Unavailable(_))) = opened {
            tenant.put_mail_back(&queued, by.now + pause(1)).await?;
            return Err(Problem::Unavailable);
        }
        // What cannot be opened gets no better by waiting for long.
        let most = if opened.is_ok() { queued.entity.attempts_at_most() } else { ATTEMPTS };
        let sent = match opened {
            // It may have left before, each time without a record.
            _ if queued.entity.attempts > most => Err(StoreError::Conflict),
            Ok(mail) => send(platform, (tenant, queued.id), mail.expose()).await,
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(()) => {
                record_sent(tenant, by, &queued).await?;
                done.sent += 1;
            }
            Err(_) if queued.entity.attempts >= most => {
                // Counted before it is recorded: a run that dies in between says it
                // twice, and never not at all.
                count_lost(by.now);
                tracing::error!(tenant = %tenant.id(), mail = %queued.id, "a message was given up");
                give_up(tenant, by, &queued).await?;
                done.failed += 1;
            }
            Err(_) => {
                tenant.postpone_mail(&queued, by.now + pause(queued.entity.attempts)).await?;
                done.retried += 1;
            }
        }
    }
    Ok(done)
}

/// Counts a letter that did not arrive, whichever job finds that out. An alarm is
/// made of it (template.yaml).
fn count_lost(now: Timestamp) {
    telemetry::counted(now, "mail", "letters_lost", 1);
}

/// One minute after the first failure, doubling up to an hour.
fn pause(attempts: i32) -> Duration {
    let doubled = 1_u32 << attempts.clamp(1, 10).unsigned_abs().saturating_sub(1);
    Duration::from_mins(1).saturating_mul(doubled).min(LONGEST_PAUSE)
}

async fn record_sent(
    tenant: &Tenant,
    by: &crate::tenant::Attribution,
    queued: &Stored<Queued>,
) -> Result<(), Problem> {
    tenant
        .audited(by, "mail.send", async |tx: &mut WriteTx<'_>| {
            tx.replace(queued, Queued { state: State::Sent, ..queued.entity.clone() }).await?;
            Ok(())
        })
        .await
}

/// Ends a message that did not leave, whether or not it can be opened any more.
async fn give_up(
    tenant: &Tenant,
    by: &crate::tenant::Attribution,
    queued: &Stored<Queued>,
) -> Result<(), Problem> {
    tenant
        .audited(by, "mail.give_up", async |tx: &mut WriteTx<'_>| {
            tx.give_mail_up(queued).await?;
            Ok(())
        })
        .await
}

/// Records that the message `id` came back; false when there is nothing to
/// record: there is no such message, it was given up, or it is known. In what
/// order events come, and how often, makes no difference.
///
/// # Errors
/// 503 when the database does not answer; 412 when somebody else had the message
/// just then.
pub async fn bounce(
    tenant: &Tenant,
    by: &crate::tenant::Attribution,
    id: Id,
) -> Result<bool, Problem> {
    let known = tenant.get::<Queued>(id).await?;
    if known.is_none_or(|known| known.entity.state.is_lost()) {
        return Ok(false);
    }
    // Before it is recorded, as for what is given up.
    count_lost(by.now);
    let mut nothing_new = false;
    let done = tenant
        .audited(by, "mail.bounce", async |tx: &mut WriteTx<'_>| {
            let before =
                tx.get::<Queued>(id).await?.filter(|queued| !queued.entity.state.is_lost());
            nothing_new = before.is_none();
            let before = before.ok_or(Problem::Stale)?;
            tx.replace(&before, Queued { state: State::Bounced, ..before.entity.clone() }).await?;
            Ok(())
        })
        .await;
    if nothing_new { Ok(false) } else { done.map(|()| true) }
}

async fn send(
    platform: &Platform,
    (tenant, id): (&Tenant, Id),
    mail: &Mail,
) -> Result<(), StoreError> {
    let content = |text: &str| {
        Content::builder().data(text).charset("UTF-8").build().map_err(StoreError::defect)
    };
    let message = Message::builder()
        .subject(content(&mail.subject)?)
        .body(Body::builder().text(content(&mail.text)?).html(content(&mail.html)?).build())
        .build();
    let tag = |name: &str, value: String| {
        MessageTag::builder().name(name).value(value).build().map_err(StoreError::defect)
    };
    platform
        .ses()
        .await?
        .send_email()
        .email_tags(tag(TENANT_TAG, tenant.id().to_string())?)
        .email_tags(tag(MAIL_TAG, id.to_string())?)
        .from_email_address(platform.setting(Setting::MailFrom)?)
        .destination(Destination::builder().to_addresses(&mail.to).build())
        .content(EmailContent::builder().simple(message).build())
        .send()
        .await
        .map_err(|error| StoreError::unavailable("mail", &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds: Vec<u64> = [1, 2, 3, 6, 7, 50].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(seconds, [60, 120, 240, 1920, 3600, 3600]);
    }

    #[test]
    fn a_notice_is_tried_for_longer_than_it_may_take() {
        let hours = |attempts: i32| {
            let pauses: Duration = (1..attempts).map(pause).sum();
            SignedDuration::try_from(pauses).unwrap().as_hours()
        };
        assert_eq!((hours(ATTEMPTS), hours(ATTEMPTS_THOUGH_SUSPENDED)), (4, 74));
        assert!(hours(ATTEMPTS_THOUGH_SUSPENDED) > crate::promises::BREACH_DEADLINE.as_hours());
    }
}

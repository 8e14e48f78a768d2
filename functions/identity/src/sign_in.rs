//! What all ways to a session share.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::{Actor, ActorKind, Outcome, Resource};
use keystone::auth::session::{SessionRecord, SessionSubject};
use keystone::auth::throttle::{AccountKey, AdmitError, Cleared, LockedBy};
use keystone::auth::token::Claims;
use keystone::auth::user::{User, UserStatus, canonical_email};
use keystone::crypto::Subject;
use keystone::http::{Call, Reply, Request};
use keystone::platform::Platform;
use keystone::tenant::{Attribution, Id, Stored, Tenant};
use keystone::{letters, mail};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// A new session.
#[derive(Serialize, JsonSchema)]
pub struct SignedIn {
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    /// When the session ends at the latest; sooner after 8 hours of disuse.
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
    /// True when the tenant asks for a second factor that the user must still
    /// set up: until then nothing else is served.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    second_factor_required: bool,
}

/// The user who makes the request, read again: their sessions may have been
/// ended since the pipeline accepted this one, and then nothing may follow from
/// it.
///
/// # Errors
/// 401 when they were; 503 when the database does not answer.
pub async fn caller(call: &Call) -> Result<Stored<User>, Problem> {
    let tenant = call.tenant();
    let (user, settings) =
        tokio::join!(tenant.get::<User>(call.principal().user()), tenant.settings());
    let settings = settings?.entity;
    let still = |user: &Stored<User>| call.principal().is_accepted_by(&user.entity, &settings);
    user?.filter(still).ok_or(Problem::Unauthenticated)
}

/// Opens a session for `user`, who has just proved every factor, in the epoch
/// of the tenant's sessions in which they began to.
///
/// # Errors
/// [`Problem`] when a store does not answer; there is no session then.
pub async fn open(
    platform: &Platform,
    request: &Request,
    cleared: Cleared,
    (user, epoch): (&Stored<User>, i64),
    second_factor: bool,
) -> Result<SessionRecord, Problem> {
    let subject = SessionSubject {
        user: user.id,
        role: user.entity.role.name().to_owned(),
        credentials: user.entity.credentials,
        epoch,
        second_factor,
        source_ip: request.ip()?,
        user_agent: request.user_agent.clone(),
    };
    Ok(platform.sessions().await?.create(request.now, cleared, subject).await?)
}

/// Opens a session in place of the one that makes the request, for credentials
/// that the write that follows gives the user. It is no more recent and lasts
/// no longer, whatever was proved on the way: that takes a whole sign-in.
///
/// # Errors
/// As [`open`].
pub async fn carry_on(
    call: &Call,
    credentials: i64,
    second_factor: bool,
) -> Result<SessionRecord, Problem> {
    let sessions = call.platform().sessions().await?;
    Ok(sessions.carry_on(call.now(), call.principal(), credentials, second_factor).await?)
}

/// The answer with the token of `session`, once `recorded` says that its audit
/// entry is written: no session without its entry.
///
/// # Errors
/// What went wrong, with the session ended.
pub async fn answer(
    platform: &Platform,
    session: SessionRecord,
    recorded: Result<(), Problem>,
) -> Result<SignedIn, Problem> {
    let answer = async {
        recorded?;
        let token = platform
            // Its sign-in may be older than the keys that were read last.
            .signing_keys(session.last_seen)
            .await?
            .sign(&Claims::of(&session, platform.parties()?))
            .map_err(|_| Problem::Internal)?;
        let expires_at = session.expires_at;
        Ok(SignedIn { token, expires_at, second_factor_required: false })
    };
    match answer.await {
        Ok(answer) => Ok(answer),
        Err(problem) => {
            platform.sessions().await?.revoke(session.sid).await?;
            Err(problem)
        }
    }
}

/// As [`answer`], opening the session and recording it at once, since neither
/// depends on the other. Where only the session fails, its entry stands: no
/// more came of it than of a session whose answer was lost.
///
/// # Errors
/// What went wrong, with the session ended.
pub async fn answer_both(
    platform: &Platform,
    opening: impl Future<Output = Result<SessionRecord, Problem>>,
    recording: impl Future<Output = Result<(), Problem>>,
) -> Result<SignedIn, Problem> {
    let (session, recorded) = tokio::join!(opening, recording);
    answer(platform, session?, recorded).await
}

impl SignedIn {
    /// The same, saying whether the user must still set up a second factor.
    #[must_use]
    pub fn requiring_second_factor(self, required: bool) -> Self {
        Self { second_factor_required: required, ..self }
    }
}

/// Deletes the user's session records but for `except`. They are worth nothing
/// already, since the user's credentials changed, so that a failure is no more
/// than untidy.
pub async fn sweep(platform: &Platform, now: Timestamp, user: Id, except: Option<Id>) {
    let swept = async { platform.sessions().await?.revoke_all(now, user, except).await };
    if let Err(error) = swept.await {
        tracing::warn!(cause = %error, "dead session records stay until they expire");
    }
}

/// The answer to an attempt that was not admitted. The first denial of a
/// window is recorded in the tenant's audit trail, if there is such a tenant.
pub async fn denied(platform: &Platform, request: &Request, denial: AdmitError) -> Problem {
    denied_to(platform, request, denial, None).await
}

/// Counts the mails of a request whose readers did not ask for them. They are
/// counted where they are written, in the transaction, after all that may refuse
/// the request: else whoever may send none could use up somebody's count.
pub struct Unasked<'c> {
    call: &'c Call,
    /// Addresses that were counted; the transaction may run again.
    counted: BTreeSet<String>,
    denial: Option<AdmitError>,
}

impl<'c> Unasked<'c> {
    /// None yet.
    pub const fn new(call: &'c Call) -> Self {
        Self { call, counted: BTreeSet::new(), denial: None }
    }

    /// Counts a mail to `address`.
    ///
    /// # Errors
    /// When ten were sent there in a quarter of an hour, or the throttle does not
    /// answer: it must not be sent then. [`Unasked::settle`] has the answer.
    pub async fn count(&mut self, address: &str) -> Result<(), Problem> {
        let address = canonical_email(address);
        if self.counted.contains(&address) {
            return Ok(());
        }
        let recipient = AccountKey::new(self.call.tenant().id().as_str(), &address);
        // Boxed, so that the transaction around it stays small.
        let counted = Box::pin(async {
            let throttle = self.call.platform().throttle().await?;
            throttle.count_unasked(self.call.now(), &recipient).await
        });
        if let Err(denial) = counted.await {
            self.denial = Some(denial);
            return Err(Problem::Unavailable);
        }
        self.counted.insert(address);
        Ok(())
    }

    /// The `outcome` of the transaction, or that a mail was one too many. The
    /// first of a window is recorded, with who asked for it.
    ///
    /// # Errors
    /// 429 then; otherwise those of the outcome.
    pub async fn settle(self, outcome: Result<Reply, Problem>) -> Result<Reply, Problem> {
        let Some(denial) = self.denial else { return outcome };
        if matches!(denial, AdmitError::Locked { first: true, .. }) {
            let facts = json!({ "locked": "recipient" });
            let (by, about) =
                (self.call.attribution()?, resource(Some(self.call.principal().user())));
            let tenant = self.call.tenant();
            tenant.record(&by, "session.lock", about, Outcome::Denied, facts).await?;
        }
        Err(denial.into())
    }
}

/// As [`denied`]. `owner` is who hears of it when the account is locked: the
/// user whose password was shown before what is counted.
pub async fn denied_to(
    platform: &Platform,
    request: &Request,
    denial: AdmitError,
    owner: Option<Id>,
) -> Problem {
    let AdmitError::Locked { retry_after, by, first, .. } = &denial else {
        return denial.into();
    };
    if *first {
        let (by, owner) = match by {
            LockedBy::Address => ("address", None),
            LockedBy::Account => ("account", owner),
        };
        let recorded = async {
            let registry = platform.registry(request.now).await?;
            match registry.of_denial(&denial, request.now).await? {
                Some(tenant) => record_lock(request, &tenant, by, owner).await,
                None => Ok(()),
            }
        };
        if let Err(problem) = recorded.await {
            return problem;
        }
    }
    Problem::TooManyRequests(*retry_after)
}

/// Records a lockout, and tells `owner` of it.
async fn record_lock(
    request: &Request,
    tenant: &Tenant,
    locked: &str,
    owner: Option<Id>,
) -> Result<(), Problem> {
    let by = attribution(request, owner, Outcome::Denied)?;
    let facts = json!({ "locked": locked });
    tenant
        .recorded(&by, "session.lock", Outcome::Denied, async |tx| {
            tx.about(resource(owner));
            tx.facts(&facts, &[])?;
            let Some(owner) = owner else { return Ok(()) };
            let found = tx.get::<User>(owner).await?;
            let Some(user) = found.filter(|user| user.entity.status == UserStatus::Active) else {
                return Ok(());
            };
            let letter = letters::second_factor_locked(tx.tenant().profile(), &user.entity)?;
            mail::enqueue(tx, request.now, Subject::User(owner), &letter).await?;
            Ok(())
        })
        .await
}

/// Who signs in or tries to, for an audit entry; `user` when it is known.
///
/// # Errors
/// As [`Request::attribution`].
pub fn attribution(
    request: &Request,
    user: Option<Id>,
    outcome: Outcome,
) -> Result<Attribution, Problem> {
    let kind = if outcome == Outcome::Success { ActorKind::User } else { ActorKind::Anonymous };
    request.attribution(Actor { kind, id: named(user), role: None, session: None })
}

/// The user as an audit entry's resource.
pub fn resource(user: Option<Id>) -> Resource {
    Resource { kind: "user".into(), id: named(user) }
}

/// Records an event of a sign-in that writes nothing.
///
/// # Errors
/// As [`Tenant::record`].
pub async fn record(
    request: &Request,
    tenant: &Tenant,
    user: Option<Id>,
    action: &'static str,
    outcome: Outcome,
    facts: Value,
) -> Result<(), Problem> {
    let by = attribution(request, user, outcome)?;
    tenant.record(&by, action, resource(user), outcome, facts).await
}

fn named(user: Option<Id>) -> String {
    user.map_or_else(|| "unknown".to_owned(), |user| user.to_string())
}

//! What a customer owes to its own security, and the reminder of it (claim
//! C21).

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::auth::Role;
use keystone::auth::user::{User, UserStatus};
use keystone::tenant::{AuditFilter, Entity, Filter, Id, Page, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::review;

/// Contacts are to be confirmed after so long.
const CONTACTS_LIFE: SignedDuration = SignedDuration::from_hours(180 * 24);
/// An account that did nothing for so long is dormant.
const DORMANT_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);
/// What was not done after a reminder is called to mind again after so long.
const REMIND_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Users read at once.
const PAGE: i64 = 100;

/// How a tenant stands with its duties.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Duties {
    /// When the next review of the audit trail is due.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub audit_review_due_at: Timestamp,
    /// When the contacts are to be confirmed: 180 days after they last were.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub contacts_due_at: Timestamp,
    /// Active users who may do everything and have no second factor.
    pub super_admins_without_second_factor: Vec<Id>,
    /// Active users who neither signed in nor changed anything for 90 days.
    pub dormant_users: Vec<DormantUser>,
    /// What is owed now.
    pub owed: Vec<Duty>,
}

/// An account that nobody uses.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DormantUser {
    /// Id of the user.
    pub id: Id,
    /// When they last did something; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_active_at: Option<Timestamp>,
}

/// Something that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// To review the audit trail.
    ReviewAudit,
    /// To confirm or change the contacts.
    ConfirmContacts,
    /// To set up second factors.
    SetUpSecondFactors,
    /// To offboard whoever does not use their account any more.
    OffboardDormantUsers,
}

impl Duties {
    /// How `tenant` stands at `now`.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn of(tenant: &Tenant, now: Timestamp) -> Result<Self, Problem> {
        let settings = tenant.settings().await?.entity;
        let (_, audit_review_due_at) = review::standing(tenant).await?;
        let mut duties = Self {
            audit_review_due_at,
            contacts_due_at: settings.contacts_confirmed_at + CONTACTS_LIFE,
            super_admins_without_second_factor: Vec::new(),
            dormant_users: Vec::new(),
            owed: Vec::new(),
        };
        let active = Filter::all().eq("status", UserStatus::Active.name());
        let mut page = Page { after: None, limit: PAGE };
        loop {
            let users = tenant.list::<User>(active.clone(), page).await?;
            for user in &users {
                duties.add(tenant, user, now).await?;
            }
            match users.last() {
                Some(last) if i64::try_from(users.len()) == Ok(PAGE) => page.after = Some(last.id),
                _ => break,
            }
        }
        duties.owed = duties.owed(now);
        Ok(duties)
    }

    async fn add(
        &mut self,
        tenant: &Tenant,
        user: &Stored<User>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let unprotected = user.entity.second_factor_since().is_none();
        if user.entity.role == Role::SuperAdmin && unprotected {
            self.super_admins_without_second_factor.push(user.id);
        }
        let since = now - DORMANT_AFTER;
        if user.created_at < since {
            let last_active_at = last_active_at(tenant, user.id).await?;
            if last_active_at.is_none_or(|at| at < since) {
                self.dormant_users.push(DormantUser { id: user.id, last_active_at });
            }
        }
        Ok(())
    }

    fn owed(&self, now: Timestamp) -> Vec<Duty> {
        [
            (Duty::ReviewAudit, self.audit_review_due_at < now),
            (Duty::ConfirmContacts, self.contacts_due_at < now),
            (Duty::SetUpSecondFactors, !self.super_admins_without_second_factor.is_empty()),
            (Duty::OffboardDormantUsers, !self.dormant_users.is_empty()),
        ]
        .into_iter()
        .filter_map(|(duty, owed)| owed.then_some(duty))
        .collect()
    }
}

/// When `user` last did something that stands in the audit trail, as every
/// sign-in does. A session lasts 24 hours, so nobody was active much later.
async fn last_active_at(tenant: &Tenant, user: Id) -> Result<Option<Timestamp>, Problem> {
    let theirs = AuditFilter { actor: Some(user.to_string()), ..AuditFilter::default() };
    let newest = tenant.newest_audit_entry(&theirs).await?;
    Ok(newest.map(|record| record.entry.at))
}

/// That a tenant was reminded. It has one such document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reminder {
    /// When.
    sent_at: Timestamp,
    /// Of what.
    duties: Vec<Duty>,
}

impl Entity for Reminder {
    const COLLECTION: &'static schema::Collection = &schema::DUTY_REMINDERS;
    const RESOURCE: &'static str = "duty_reminder";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Reminder {
    /// The id of the document.
    pub const ID: Id = Id::from_u128(1);

    /// A reminder of `duties`.
    pub fn new(sent_at: Timestamp, duties: Vec<Duty>) -> Self {
        Self { sent_at, duties }
    }

    /// Whether it is too early for another one, of `owed`, at `now`: nothing is
    /// owed, or nothing that this one did not name in the last week.
    pub fn suffices(&self, owed: &[Duty], now: Timestamp) -> bool {
        let recent = now.duration_since(self.sent_at) < REMIND_AFTER;
        recent && owed.iter().all(|duty| self.duties.contains(duty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
    }

    #[test]
    fn one_duty_is_owed_after_its_day_and_not_on_it() {
        let mut duties = Duties {
            audit_review_due_at: day(10),
            contacts_due_at: day(20),
            super_admins_without_second_factor: Vec::new(),
            dormant_users: Vec::new(),
            owed: Vec::new(),
        };
        let second = SignedDuration::from_secs(1);
        assert_eq!(duties.owed(day(10)), []);
        assert_eq!(duties.owed(day(10) + second), [Duty::ReviewAudit]);
        assert_eq!(duties.owed(day(20) + second), [Duty::ReviewAudit, Duty::ConfirmContacts]);
        let id = Id::from_u128(7);
        duties.super_admins_without_second_factor.push(id);
        assert_eq!(duties.owed(day(0)), [Duty::SetUpSecondFactors]);
        duties.dormant_users.push(DormantUser { id, last_active_at: None });
        assert_eq!(duties.owed(day(30)).len(), 4);
    }

    #[test]
    fn a_reminder_suffices_for_a_week_and_for_what_it_names() {
        let reminder = Reminder::new(day(0), vec![Duty::ReviewAudit, Duty::ConfirmContacts]);
        let almost = day(7) - SignedDuration::from_secs(1);
        assert!(reminder.suffices(&[Duty::ReviewAudit], almost));
        assert!(!reminder.suffices(&[Duty::ReviewAudit], day(7)));
        assert!(!reminder.suffices(&[Duty::ReviewAudit, Duty::SetUpSecondFactors], almost));
    }
}

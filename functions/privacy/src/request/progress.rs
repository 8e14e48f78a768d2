//! The steps of a request, each of which leaves its evidence: who asks, more
//! time, restriction, how it ended.

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::auth::Role;
use keystone::auth::user::User;
use keystone::crypto::{CryptoError, Sealed, Subject};
use keystone::erasure::concluded_since;
use keystone::restriction::{Ground, Restriction};
use keystone::tenant::{Id, StoreError, Stored, Tenant, WriteTx};
use keystone::{FieldError, Problem, calendar};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    Ending, Extension, IdentityCheck, Kind, MONTHS_EXTENDED, Person, RefusalGround, Restricted,
    State, SubjectRequest, opened, seal, wrong_day,
};
use crate::request::watch::Watch;

/// Most checks of identity that one request keeps.
const CHECKS: usize = 20;

/// Steps of a request. What is absent stays as it is; what is there is done
/// in this order.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SubjectRequestPatch")]
pub struct Patch {
    /// Whom it is about.
    subject: Option<Person>,
    /// A check of who asks.
    identity: Option<IdentityCheck>,
    /// Two further months (Art. 12(3)).
    extension: Option<NewExtension>,
    /// Restriction of the use of the person's data, or its end.
    restriction: Option<RestrictionChange>,
    /// The state to be reached.
    state: Option<State>,
    /// How it ended; with `fulfilled` and `refused`.
    ending: Option<NewEnding>,
}

/// Two further months to answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewExtension {
    /// Why: how complex the request is, or how many there are. Stored
    /// encrypted.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
    /// The day on which the person was told so, within the first month.
    #[schemars(with = "String", extend("format" = "date"))]
    told_on: Date,
}

/// Restriction of the use of the person's data, or its end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestrictionChange {
    /// Whether it is restricted from now on.
    restricted: bool,
    /// Why (Art. 18(1)); where it is restricted.
    ground: Option<Ground>,
    /// The day on which the person was told that it would be lifted (Art.
    /// 18(3)); where it is lifted.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    told_on: Option<Date>,
}

/// How a request ended.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewEnding {
    /// What the person was answered: what was done, or why not, and then that
    /// they can complain to an authority or go to court (Art. 12(4)). Stored
    /// encrypted.
    #[schemars(length(min = 1, max = 4000))]
    answer: String,
    /// The day on which they were told.
    #[schemars(with = "String", extend("format" = "date"))]
    told_on: Date,
    /// Why it is refused; with `refused` only.
    refused: Option<RefusalGround>,
}

/// Who takes the steps, and when.
#[derive(Clone, Copy)]
pub struct By {
    /// The user.
    pub user: Id,
    /// Their role, as the transaction sees it.
    pub role: Role,
    /// When.
    pub now: Timestamp,
}

impl By {
    /// Checks that the record of `person` is theirs to mark: of users, whom they
    /// manage, and not themselves. Otherwise somebody could keep their own
    /// account, or that of who is above them, from being changed.
    ///
    /// # Errors
    /// 403 when it is not.
    async fn must_manage(self, tx: &mut WriteTx<'_>, person: Subject) -> Result<(), Problem> {
        let Subject::User(id) = person else { return Ok(()) };
        let user = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
        if id == self.user || !self.role.manages(user.entity.role) {
            return Err(Problem::Forbidden);
        }
        Ok(())
    }
}

impl Patch {
    /// The request after these steps.
    ///
    /// # Errors
    /// 422 naming every wrong field; 403 for a restriction of a user whom they
    /// do not manage; 409 for a step that the request is not ready for, with what
    /// it needs first; 503 when a store does not answer.
    pub async fn apply(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &Tenant,
        before: &Stored<SubjectRequest>,
        by: By,
    ) -> Result<SubjectRequest, Problem> {
        let (id, request) = (before.id, &before.entity);
        if request.state.is_closed() && !self.lifts_only() {
            return Err(conflict("The request is answered; only a restriction can be lifted."));
        }
        let mut errors = self.wrong_fields(request, by.now);
        if let Some(person) = self.subject
            && !tenant.knows(person.subject()).await?
        {
            errors.push(FieldError::new("/subject/id", "There is no such person."));
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        let mut after = request.clone();
        if let Some(person) = self.subject {
            link(tenant, id, &mut after, person.subject()).await?;
        }
        if let Some(check) = &self.identity {
            if after.identity.len() >= CHECKS {
                return Err(conflict("There are no more checks of identity for one request."));
            }
            after.identity.push(check.clone());
        }
        if let Some(extension) = &self.extension {
            extension.apply(tenant, id, &mut after, by.now).await?;
        }
        if let Some(change) = &self.restriction {
            change.apply(tx, id, &mut after, by).await?;
        }
        if let Some(state) = self.state {
            self.move_to(state, tenant, id, &mut after, by).await?;
        }
        Ok(after)
    }

    fn lifts_only(&self) -> bool {
        let others = self.subject.is_none()
            && self.identity.is_none()
            && self.extension.is_none()
            && self.state.is_none()
            && self.ending.is_none();
        others && self.restriction.as_ref().is_some_and(|change| !change.restricted)
    }

    /// What is wrong with the values themselves.
    fn wrong_fields(&self, request: &SubjectRequest, now: Timestamp) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let nothing = self.subject.is_none()
            && self.identity.is_none()
            && self.extension.is_none()
            && self.restriction.is_none()
            && self.state.is_none()
            && self.ending.is_none();
        if nothing {
            errors.push(FieldError::new("", "Say which step is taken."));
        }
        let mut day =
            |field: &str, day: Date| errors.extend(wrong_day(field, day, request.received_on, now));
        if let Some(check) = &self.identity {
            day("/identity/on", check.on);
        }
        if let Some(extension) = &self.extension {
            day("/extension/told_on", extension.told_on);
        }
        if let Some(told_on) = self.restriction.as_ref().and_then(|change| change.told_on) {
            day("/restriction/told_on", told_on);
        }
        if let Some(ending) = &self.ending {
            day("/ending/told_on", ending.told_on);
        }
        let mut wrong = |field: &str, message: &str| errors.push(FieldError::new(field, message));
        if let Some(change) = &self.restriction {
            if change.restricted && change.ground.is_none() {
                wrong("/restriction/ground", "Say why the use is restricted (Art. 18(1)).");
            }
            if !change.restricted && change.told_on.is_none() {
                let message = "Tell the person before it is lifted (Art. 18(3)), and say when.";
                wrong("/restriction/told_on", message);
            }
        }
        let closes = self.state.is_some_and(State::is_closed);
        match (&self.ending, closes) {
            (None, true) => wrong("/ending", "Say what the person was answered."),
            (Some(_), false) => wrong("/state", "Say whether it is fulfilled or refused."),
            _ => {}
        }
        if let (Some(ending), Some(state)) = (&self.ending, self.state) {
            match (state, ending.refused) {
                (State::Refused, None) => wrong("/ending/refused", "Say why it is refused."),
                (State::Fulfilled, Some(_)) => {
                    wrong("/ending/refused", "Is for what is refused only.");
                }
                _ => {}
            }
        }
        errors
    }

    /// Moves the request to another state.
    async fn move_to(
        &self,
        state: State,
        tenant: &Tenant,
        id: Id,
        after: &mut SubjectRequest,
        by: By,
    ) -> Result<(), Problem> {
        if !after.state.may_become(state) {
            let (from, to) = (after.state.name(), state.name());
            return Err(conflict(&format!("A request that is {from} cannot become {to}.")));
        }
        let person = after.person();
        if person.is_some() && matches!(state, State::InProgress | State::Fulfilled) {
            after.must_be_identified()?;
        }
        let mut erasure_id = None;
        if state == State::Fulfilled
            && let Some(person) = person
        {
            erasure_id = evidence(tenant, after, person).await?;
        }
        if let Some(ending) = &self.ending {
            after.answer = seal(tenant, id, "answer", Some(&ending.answer)).await?;
            // The watch leaves alone what has ended, so a late answer is a miss here.
            if ending.told_on > after.due_on {
                after.watch.missed_at.get_or_insert(by.now);
            }
            after.ending = Some(Ending {
                at: by.now,
                told_on: ending.told_on,
                refused: ending.refused,
                erasure_id,
                by: by.user,
            });
        }
        after.state = state;
        Ok(())
    }
}

/// What must be there before a request about a known person is fulfilled; the
/// erasure, where one was asked for.
async fn evidence(
    tenant: &Tenant,
    request: &SubjectRequest,
    person: Subject,
) -> Result<Option<Id>, Problem> {
    match request.kind {
        Kind::Access | Kind::Portability if request.bundles == 0 => {
            Err(conflict("Make the bundle of the person's data first."))
        }
        Kind::Restriction if !request.is_restricting() => {
            Err(conflict("Restrict the use of the person's data first (restriction)."))
        }
        Kind::Erasure => {
            let day_before = calendar::days_after(request.received_on, -1);
            let received = calendar::end_of(day_before).map_err(StoreError::defect)?;
            let erasure = concluded_since(tenant, person, received).await?;
            erasure.map(Some).ok_or_else(|| {
                conflict("Erase the person first (POST …/erase of the user, supplier or customer).")
            })
        }
        _ => Ok(None),
    }
}

impl SubjectRequest {
    /// Whether the use of the person's data is restricted by this request now.
    fn is_restricting(&self) -> bool {
        self.restricted.as_ref().is_some_and(|mark| mark.lifted_at.is_none())
    }
}

/// Says whom the request is about, whose erasure then reaches what was said in
/// it; who asks must be found out anew if it was thought to be about another.
async fn link(
    tenant: &Tenant,
    id: Id,
    after: &mut SubjectRequest,
    person: Subject,
) -> Result<(), Problem> {
    let former = after.person();
    if former == Some(person) {
        return Ok(());
    }
    if after.bundles > 0 || after.is_restricting() {
        return Err(conflict(
            "Data of the person was handed over or restricted; record another request.",
        ));
    }
    if former.is_some() {
        after.identity.clear();
    }
    after.subject = Some(person.to_string());
    after.requester = own(tenant, id, "requester", after.requester.take()).await?;
    after.description = own(tenant, id, "description", after.description.take()).await?;
    let reason = after.extension_reason.take();
    after.extension_reason = own(tenant, id, "extension_reason", reason).await?;
    Ok(())
}

/// The value with the request's own secret: an earlier release sealed it for
/// the tenant, or for who was thought to ask.
async fn own<T: Serialize + DeserializeOwned + Clone>(
    tenant: &Tenant,
    id: Id,
    field: &'static str,
    value: Option<Sealed<T>>,
) -> Result<Option<Sealed<T>>, CryptoError> {
    if value.as_ref().is_none_or(|sealed| sealed.subject() == Subject::Request(id)) {
        return Ok(value);
    }
    let plain = opened(tenant, id, field, value.as_ref()).await?;
    seal(tenant, id, field, plain.as_ref()).await
}

impl NewExtension {
    async fn apply(
        &self,
        tenant: &Tenant,
        id: Id,
        after: &mut SubjectRequest,
        now: Timestamp,
    ) -> Result<(), Problem> {
        if after.extension.is_some() {
            return Err(conflict("The time was extended already; the law knows one extension."));
        }
        if self.told_on > after.due_on || calendar::day_of(now) > after.due_on {
            return Err(conflict(
                "The first month is over: the person must be told within it (Art. 12(3)).",
            ));
        }
        after.extension_reason = seal(tenant, id, "extension_reason", Some(&self.reason)).await?;
        after.extension = Some(Extension { told_on: self.told_on, at: now });
        after.due_on = calendar::months_after(after.received_on, MONTHS_EXTENDED);
        // The reminders of the new deadline are yet to come.
        after.watch = Watch::default();
        Ok(())
    }
}

impl RestrictionChange {
    async fn apply(
        &self,
        tx: &mut WriteTx<'_>,
        id: Id,
        after: &mut SubjectRequest,
        by: By,
    ) -> Result<(), Problem> {
        let person = after.person().ok_or_else(|| {
            conflict("Say first whom the request is about (subject): their record is marked.")
        })?;
        by.must_manage(tx, person).await?;
        if !self.restricted {
            let standing = after.restricted.as_mut().filter(|mark| mark.lifted_at.is_none());
            let mark =
                standing.ok_or_else(|| conflict("This request restricts nothing at present."))?;
            mark.lifted_at = Some(by.now);
            mark.told_on = self.told_on;
            return tx.set_restriction(person, None).await;
        }
        if !after.kind.may_restrict() {
            return Err(conflict(
                "The use is restricted for requests of restriction, rectification and objection.",
            ));
        }
        after.must_be_identified()?;
        let ground = self.ground.ok_or(Problem::Internal)?;
        let since = by.now;
        let restriction = Restriction { since, ground, request_id: id };
        after.restricted = Some(Restricted { ground, since, lifted_at: None, told_on: None });
        tx.set_restriction(person, Some(&restriction)).await
    }
}

fn conflict(detail: &str) -> Problem {
    Problem::Conflict(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::request;
    use super::*;

    fn wrong(patch: Value, state: State) -> Vec<String> {
        let patch: Patch = serde_json::from_value(patch).unwrap();
        let now = "2026-02-10T12:00:00Z".parse().unwrap();
        let errors = patch.wrong_fields(&request(Kind::Restriction, state), now);
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn every_wrong_value_of_a_step_is_named() {
        let open = State::Open;
        assert_eq!(wrong(json!({}), open), [""]);
        let check = |on: &str| json!({ "identity": { "method": "document", "result": "confirmed", "on": on } });
        assert_eq!(wrong(check("2026-02-10"), open), Vec::<String>::new());
        assert_eq!(wrong(check("2026-02-11"), open), ["/identity/on"]);
        assert_eq!(wrong(check("2026-01-30"), open), ["/identity/on"], "before it was received");
        let restriction = |value: Value| json!({ "restriction": value });
        let fields = wrong(restriction(json!({ "restricted": true })), open);
        assert_eq!(fields, ["/restriction/ground"]);
        let fields = wrong(restriction(json!({ "restricted": false })), open);
        assert_eq!(fields, ["/restriction/told_on"]);
        let ending = |state: Option<&str>, refused: Option<&str>| {
            let ending = json!({ "answer": "No", "told_on": "2026-02-10", "refused": refused });
            json!({ "state": state, "ending": ending })
        };
        let in_progress = State::InProgress;
        assert_eq!(wrong(json!({ "state": "refused" }), in_progress), ["/ending"]);
        assert_eq!(wrong(ending(None, None), in_progress), ["/state"]);
        assert_eq!(wrong(ending(Some("in_progress"), None), open), ["/state"]);
        assert_eq!(wrong(ending(Some("refused"), None), open), ["/ending/refused"]);
        let excessive = Some("excessive");
        assert_eq!(wrong(ending(Some("fulfilled"), excessive), open), ["/ending/refused"]);
        assert_eq!(wrong(ending(Some("refused"), excessive), open), Vec::<String>::new());
    }
}

//! Who is told that the tenant's contacts were changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone::auth::user::canonical_email;
use keystone::tenant::{Contact, Contacts, WriteTx};
use keystone::{Problem, letters, mail};

use crate::sign_in::Unasked;

/// Somebody whom a change of the contacts concerns.
struct Told<'c> {
    contact: &'c Contact,
    /// Contacts, by name, for whom somebody else receives from now on.
    lost: Vec<&'static str>,
    /// Contacts for whom they receive from now on.
    given: Vec<&'static str>,
}

/// Tells whoever received what goes to a contact until now, so that nobody takes
/// their place in silence, and whoever receives it from now on.
///
/// # Errors
/// As [`Unasked::count`] and [`mail::enqueue`].
pub async fn tell(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    unasked: &mut Unasked<'_>,
    before: &Contacts,
    after: &Contacts,
) -> Result<(), Problem> {
    for told in concerned(before, after) {
        let Told { contact, lost, given } = &told;
        unasked.count(&contact.email).await?;
        let letter = letters::contacts_changed(tx.tenant().profile(), contact, lost, given)?;
        mail::enqueue(tx, now, contact.subject(), &letter).await?;
    }
    Ok(())
}

/// Whom the change concerns, each address once.
fn concerned<'c>(before: &'c Contacts, after: &'c Contacts) -> Vec<Told<'c>> {
    let mut told: BTreeMap<String, Told<'c>> = BTreeMap::new();
    for ((name, former), (_, next)) in before.receivers().into_iter().zip(after.receivers()) {
        let (was, is) = (canonical_email(&former.email), canonical_email(&next.email));
        if was == is {
            continue;
        }
        let of = |contact| Told { contact, lost: Vec::new(), given: Vec::new() };
        told.entry(was).or_insert_with(|| of(former)).lost.push(name);
        told.entry(is).or_insert_with(|| of(next)).given.push(name);
    }
    told.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(email: &str) -> Contact {
        Contact { name: email.to_uppercase(), email: email.into(), user: None }
    }

    fn contacts(primary: &str, security: Option<&str>) -> Contacts {
        let (primary, security) = (contact(primary), security.map(contact));
        Contacts { primary, security, billing: None }
    }

    #[test]
    fn who_gains_and_who_loses_something_is_told_once() {
        let told = |before: &Contacts, after: &Contacts| -> Vec<_> {
            let told = concerned(before, after).into_iter();
            told.map(|told| (told.contact.email.clone(), told.lost, told.given)).collect()
        };
        let (a, b) = ("a@x.example".to_owned(), "b@x.example".to_owned());
        let alone = contacts(&a, None);
        // What went to the primary contact, since nobody else was named.
        let aided = contacts(&a, Some(&b));
        let security = || vec!["security"];
        assert_eq!(
            told(&alone, &aided),
            [(a.clone(), security(), vec![]), (b.clone(), vec![], security())]
        );
        assert_eq!(
            told(&aided, &alone),
            [(a.clone(), vec![], security()), (b.clone(), security(), vec![])]
        );
        let moved = contacts(&b, Some(&b));
        let rest = || vec!["primary", "billing"];
        assert_eq!(
            told(&aided, &moved),
            [(a.clone(), rest(), vec![]), (b.clone(), vec![], rest())]
        );
        // Another name, or the same address in another spelling, is nobody else.
        assert!(told(&aided, &contacts(&a.to_uppercase(), Some(&b))).is_empty());
    }
}

//! The only user of a canary: who the isolation probe signs in as. docs/adr/0039
//! has the reasons.

use serde::Deserialize;

use super::{Attribution, Filter, Page, StoreError, Tenant, WriteTx};
use crate::audit::merkle::Hash;
use crate::auth::Role;
use crate::auth::password::{Password, PasswordContext, PasswordInput, Pepper};
use crate::auth::user::{User, UserStatus};
use crate::{Problem, random};

/// What people read for a name.
const NAME: &str = "Isolation probe";
/// Former users of a canary whom one run takes leave of.
const FORMER: i64 = 100;

/// Who the probe signs in as, in both canaries. It has no `Debug`: the password
/// is in it.
pub struct ProbeUser {
    email: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    password: String,
}

impl ProbeUser {
    /// Reads the secret `{"password":"..."}`. The address follows from the
    /// password: a stranger who does not know it cannot lock the account by ten
    /// wrong passwords, and another password makes another user.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the secret has another shape.
    pub fn from_secret_json(secret: &str) -> Result<Self, StoreError> {
        // What was wrong may quote the secret.
        let read = serde_json::from_str::<Secret>(secret);
        let Secret { password } =
            read.map_err(|_| StoreError::defect("the secret of the canaries is none"))?;
        let digest = Hash::of(&[b"canary\n", password.as_bytes()]).to_string();
        // Nobody reads mail there (RFC 6761).
        let email = format!("probe-{}@canary.invalid", &digest[..24]);
        Ok(Self { email, password })
    }

    /// E-mail address of the account.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The password in clear.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Makes the user in a canary, unless they are there, and ends whoever was it
    /// before: an `admin`, the highest role that needs no second factor.
    ///
    /// # Errors
    /// 422 when the password is a weak one; [`Problem::Unavailable`] when a store
    /// does not answer.
    pub(super) async fn admit(
        &self,
        tenant: &Tenant,
        by: &Attribution,
        pepper: &Pepper,
    ) -> Result<(), Problem> {
        let with_address = Filter::all().eq("email", self.email.clone());
        let known = tenant.find::<User>(with_address).await?;
        if known.as_ref().is_some_and(|user| user.entity.status == UserStatus::Active) {
            return Ok(());
        }
        let context = PasswordContext {
            email: &self.email,
            name: NAME,
            tenant: tenant.id().as_str(),
            organisation: &tenant.profile().legal_name,
        };
        let password = PasswordInput::from(self.password.clone());
        let password = Password::new("/password", &password, context)
            .map_err(|error| Problem::Invalid(vec![error]))?;
        let hash = password.hash(pepper)?;
        let (user, _) = User::invite(&self.email, NAME.into(), Role::Admin, 0, by.now)?;
        let user = user.with_password(hash.clone());
        let active = Filter::all().eq("status", UserStatus::Active.name());
        let former = tenant.list::<User>(active, Page { after: None, limit: FORMER }).await?;
        let id = random::id(by.now)?;
        tenant
            .audited(by, "user.admit", async |tx: &mut WriteTx<'_>| {
                match &known {
                    // Somebody set an earlier password again.
                    Some(before) => {
                        tx.replace(before, before.entity.clone().with_password(hash.clone()))
                            .await?;
                    }
                    None => {
                        tx.insert(id, user.clone()).await?;
                    }
                }
                for before in &former {
                    tx.replace(before, before.entity.clone().deactivated()).await?;
                }
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_from_the_password() {
        let read = |secret: &str| ProbeUser::from_secret_json(secret);
        let (one, other) = (r#"{"password":"one"}"#, r#"{"password":"other"}"#);
        let email = |secret| read(secret).unwrap().email().to_owned();
        assert_eq!(email(one), email(one));
        assert_ne!(email(one), email(other));
        assert!(email(one).ends_with("@canary.invalid"));
        for wrong in ["", "{}", r#"{"password":1}"#, r#"{"password":"a","more":1}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

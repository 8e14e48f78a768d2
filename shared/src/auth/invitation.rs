//! The mail that invites a person.

use super::user::{InvitationToken, User};
use crate::mail::Mail;
use crate::tenant::TenantId;

/// The invitation of `user` to `tenant`, with the link that carries the token.
pub fn invitation_mail(
    public_url: &str,
    tenant: &TenantId,
    user: &User,
    token: &InvitationToken,
) -> Mail {
    let link = format!("{public_url}/invitations/{tenant}?token={}", token.expose());
    let name = &user.name;
    let text = format!(
        "Hello {name},\n\n\
         you have been invited to Keystone, as {role} of {tenant}.\n\n\
         Choose your password here within 7 days:\n{link}\n\n\
         If you did not expect this, ignore this message. Nobody can sign in with it but you.\n",
        role = user.role.name(),
    );
    let html = format!(
        "<!doctype html><html lang=\"en\"><body><p>Hello {name},</p>\
         <p>you have been invited to Keystone, as {role} of {tenant}.</p>\
         <p><a href=\"{link}\">Choose your password</a> within 7 days.</p>\
         <p>If you did not expect this, ignore this message. \
         Nobody can sign in with it but you.</p></body></html>",
        name = escape(name),
        role = user.role.name(),
    );
    Mail { to: user.email.clone(), subject: "Your invitation to Keystone".into(), text, html }
}

/// Text as HTML content.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::auth::Role;

    #[test]
    fn names_cannot_bring_markup() {
        let (user, token) = User::invite(
            "Eve@Example.com",
            "<b>Eve</b>".into(),
            Role::Viewer,
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        let mail = invitation_mail("https://app.example", &tenant, &user, &token);
        assert_eq!(mail.to, "eve@example.com");
        assert!(mail.html.contains("&lt;b&gt;Eve") && !mail.html.contains("<b>"));
        let link = format!("https://app.example/invitations/acme?token={}", token.expose());
        assert!(mail.text.contains(&link) && mail.html.contains(&link));
    }
}

//! What the mails say. Each is a [`Letter`], which two templates turn into
//! the text and the HTML part.

use askama::Template;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::Problem;
use crate::auth::Role;
use crate::auth::user::{MailedToken, User};
use crate::mail::Mail;
use crate::tenant::{Contact, Id, TenantId, TenantRecord};

/// What every letter consists of.
struct Letter<'a> {
    subject: &'a str,
    name: &'a str,
    paragraphs: Vec<String>,
    link: Option<Link<'a>>,
    closing: &'a str,
}

struct Link<'a> {
    label: &'a str,
    url: String,
}

impl<'a> Link<'a> {
    /// A link to the page `path` that carries a token in its fragment, which
    /// browsers keep to themselves: it reaches no log on the way.
    fn with_token(
        label: &'a str,
        public_url: &str,
        path: &str,
        tenant: &TenantRecord,
        token: &MailedToken,
    ) -> Self {
        let url = format!("{public_url}/{path}/{}#token={}", tenant.id, token.expose());
        Self { label, url }
    }
}

#[derive(Template)]
#[template(path = "letter.txt")]
struct Text<'a> {
    letter: &'a Letter<'a>,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Html<'a> {
    letter: &'a Letter<'a>,
}

impl Letter<'_> {
    fn to(&self, address: &str) -> Result<Mail, Problem> {
        let failed = |error: askama::Error| {
            tracing::error!(cause = %error, "a letter cannot be written");
            Problem::Internal
        };
        Ok(Mail {
            to: address.to_owned(),
            subject: self.subject.to_owned(),
            text: Text { letter: self }.render().map_err(failed)?,
            html: Html { letter: self }.render().map_err(failed)?,
        })
    }
}

/// Invites `user` to `tenant`, with the link that carries the token.
///
/// # Errors
/// [`Problem::Internal`] when it cannot be written.
pub fn invitation(
    public_url: &str,
    tenant: &TenantRecord,
    user: &User,
    token: &MailedToken,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Your invitation to Keystone",
        name: &user.name,
        paragraphs: vec![
            format!(
                "you have been invited to work in Keystone for {}, as {}.",
                tenant.legal_name,
                in_plain_words(user.role)
            ),
            "Choose your password within 7 days.".into(),
        ],
        link: Some(Link::with_token(
            "Choose your password",
            public_url,
            "invitations",
            tenant,
            token,
        )),
        closing: "If you did not expect this, ignore this message. \
                  Nobody can sign in with it but you.",
    }
    .to(&user.email)
}

/// Lets `user` of `tenant` choose another password, with the link that
/// carries the token.
///
/// # Errors
/// As [`invitation`].
pub fn password_reset(
    public_url: &str,
    tenant: &TenantRecord,
    user: &User,
    token: &MailedToken,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Choose a new Keystone password",
        name: &user.name,
        paragraphs: vec![
            format!("somebody asked to replace your password at {}.", tenant.legal_name),
            "If it was you, choose a new one within 30 minutes. \
             Everybody who is signed in to your account is then signed out."
                .into(),
        ],
        link: Some(Link::with_token(
            "Choose a new password",
            public_url,
            "password-reset",
            tenant,
            token,
        )),
        closing: "If it was not you, ignore this message: your password stays as it is.",
    }
    .to(&user.email)
}

/// Asks whoever reads the mail of `address` whether `user` of `tenant` is to
/// sign in with it, with the link that carries the token.
///
/// # Errors
/// As [`invitation`].
pub fn email_change(
    public_url: &str,
    tenant: &TenantRecord,
    user: &User,
    address: &str,
    token: &MailedToken,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Confirm your new e-mail address for Keystone",
        name: &user.name,
        paragraphs: vec![
            format!(
                "somebody asked to sign in to your account at {} with this address.",
                tenant.legal_name
            ),
            "If it was you, confirm it within 30 minutes. The address that you sign in with \
             until now then no longer works, and everybody who is signed in to your account is \
             signed out."
                .into(),
        ],
        link: Some(Link::with_token(
            "Confirm this address",
            public_url,
            "email-change",
            tenant,
            token,
        )),
        closing: "If it was not you, ignore this message: nothing changes.",
    }
    .to(address)
}

/// What changed about how a user signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChange {
    /// The user chose another password.
    Password,
    /// The user signs in with another address; whether the former one, which
    /// is told, stands among the tenant's contacts.
    Email {
        /// Such a contact stays until a `super_admin` changes it.
        still_contact: bool,
    },
    /// An authenticator app is asked for from now on.
    SecondFactorOn,
    /// No second factor is asked for any more.
    SecondFactorOff,
    /// A recovery code was used; so many are left.
    RecoveryCode(usize),
}

/// Tells `user` of `tenant` that something about signing in changed, so that
/// they notice when it was not them (OWASP ASVS 5.0, 6.3.7).
///
/// # Errors
/// As [`invitation`].
pub fn account_change(
    tenant: &TenantRecord,
    user: &User,
    change: AccountChange,
) -> Result<Mail, Problem> {
    let (subject, told) = match change {
        AccountChange::Password => (
            "Your Keystone password was changed",
            "your password was changed. Every other session was signed out.".to_owned(),
        ),
        AccountChange::Email { .. } => (
            "The e-mail address of your Keystone account was changed",
            "your account now has another e-mail address. This one signs nobody in any more. \
             Every session was signed out."
                .to_owned(),
        ),
        AccountChange::SecondFactorOn => (
            "A second factor protects your Keystone account",
            "an authenticator app was set up. Signing in now asks for its code.".to_owned(),
        ),
        AccountChange::SecondFactorOff => (
            "The second factor of your Keystone account was removed",
            "the authenticator app and its recovery codes were removed. \
             Every session was signed out."
                .to_owned(),
        ),
        AccountChange::RecoveryCode(left) => (
            "A recovery code of your Keystone account was used",
            format!("somebody signed in with one of your recovery codes; {left} are left."),
        ),
    };
    let mut paragraphs =
        vec![format!("this is about your account at {}:", tenant.legal_name), told];
    if change == (AccountChange::Email { still_contact: true }) {
        paragraphs.push(
            "You are a contact of your organisation under this address, and what we send to that \
             contact still comes here. A super_admin of your organisation can change it."
                .to_owned(),
        );
    }
    Letter {
        subject,
        name: &user.name,
        paragraphs,
        link: None,
        closing: "If it was not you, tell an administrator of your organisation at once.",
    }
    .to(&user.email)
}

/// Tells `user` of `tenant` that somebody who had the right password showed so
/// many wrong codes that no more are accepted for a while (OWASP ASVS 5.0,
/// 6.3.5).
///
/// # Errors
/// As [`invitation`].
pub fn second_factor_locked(tenant: &TenantRecord, user: &User) -> Result<Mail, Problem> {
    Letter {
        subject: "Wrong codes were tried on your Keystone account",
        name: &user.name,
        paragraphs: vec![
            format!("this is about your account at {}:", tenant.legal_name),
            "somebody entered your password and then too many wrong codes. For up to 15 minutes \
             no code is accepted, not even a right one."
                .into(),
        ],
        link: None,
        closing: "If it was not you, somebody knows your password: choose another one, and tell \
                  an administrator of your organisation at once.",
    }
    .to(&user.email)
}

/// Tells `former`, a contact of `tenant`, that `next` stands there from now
/// on: notices of breaches and of sub-processors went to them until now.
///
/// # Errors
/// As [`invitation`].
pub fn contact_replaced(
    tenant: &TenantRecord,
    former: &Contact,
    next: &Contact,
) -> Result<Mail, Problem> {
    Letter {
        subject: "You are no longer a contact of your organisation at Keystone",
        name: &former.name,
        paragraphs: vec![format!(
            "your account at {} was closed. What we sent to you as a contact of this \
             organisation goes to {} from now on.",
            tenant.legal_name, next.email
        )],
        link: None,
        closing: "If this is not right, tell a super_admin of your organisation at once.",
    }
    .to(&former.email)
}

/// Tells `contact` of `tenant` that somebody else receives what goes to the
/// contacts `lost`, or they themselves what goes to the contacts `given`. The
/// letter names nobody else: whose address it is may be erased.
///
/// # Errors
/// As [`invitation`].
pub fn contacts_changed(
    tenant: &TenantRecord,
    contact: &Contact,
    lost: &[&str],
    given: &[&str],
) -> Result<Mail, Problem> {
    let what = |name: &str| match name {
        "primary" => "Notices of breaches and of sub-processors",
        "security" => "Security notices",
        _ => "Invoices",
    };
    let mut paragraphs = vec![format!(
        "this is about the contacts of {} at Keystone, which a super_admin changed.",
        tenant.legal_name
    )];
    let lost = lost.iter().map(|name| format!("{} go to another address from now on.", what(name)));
    let given = given.iter().map(|name| format!("{} come to you from now on.", what(name)));
    paragraphs.extend(lost.chain(given));
    Letter {
        subject: "The contacts of your organisation at Keystone were changed",
        name: &contact.name,
        paragraphs,
        link: None,
        closing: "If this is not right, tell a super_admin of your organisation at once. If they \
                  know nothing of it, answer this message.",
    }
    .to(&contact.email)
}

/// Tells a tenant's primary contact that the tenant's data is going to be
/// erased at `ends_at`.
///
/// # Errors
/// As [`invitation`].
pub fn closing(
    tenant: &TenantRecord,
    name: &str,
    email: &str,
    ends_at: Timestamp,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Your Keystone data will be erased",
        name,
        paragraphs: vec![
            format!("Keystone is being closed for {}.", tenant.legal_name),
            format!(
                "Until {} everybody can sign in, read and export. Nothing new can be entered.",
                in_words(ends_at)
            ),
            "Then your encryption keys are destroyed. What they protect cannot be \
             read again by anybody, and no backup brings it back."
                .into(),
        ],
        link: None,
        closing: "If this is not what you agreed with us, answer at once: \
                  until then it can be called off.",
    }
    .to(email)
}

/// Tells a tenant's primary contact that the closing was called off.
///
/// # Errors
/// As [`invitation`].
pub fn closing_called_off(tenant: &TenantRecord, name: &str, email: &str) -> Result<Mail, Problem> {
    Letter {
        subject: "Your Keystone data stays",
        name,
        paragraphs: vec![format!(
            "the closing of Keystone for {} was called off. Everything works as before.",
            tenant.legal_name
        )],
        link: None,
        closing: "If this is not what you agreed with us, answer this message.",
    }
    .to(email)
}

/// Tells `contact`, whom `tenant` named, how much time is left to answer a
/// person's request about their data; negative when it is over. It names the
/// request and not the person: a letter lies in a mailbox. Of a suspended tenant
/// nobody finds it in Keystone, and has to answer it all the same.
///
/// # Errors
/// As [`invitation`].
pub fn subject_request_deadline(
    tenant: &TenantRecord,
    contact: &Contact,
    request: Id,
    due_on: Date,
    days_left: i64,
) -> Result<Mail, Problem> {
    let over = days_left < 0;
    let told = if over {
        format!(
            "the time to answer a person's request about their data at {} ended on {}, and it is \
             not answered.",
            tenant.legal_name,
            day_in_words(due_on)
        )
    } else {
        format!(
            "a person's request about their data at {} must be answered by {}: {}.",
            tenant.legal_name,
            day_in_words(due_on),
            match days_left {
                0 => "today is the last day".to_owned(),
                1 => "1 day is left".to_owned(),
                days => format!("{days} days are left"),
            }
        )
    };
    let found = if tenant.state.serves() {
        format!("You find it in Keystone as request {request}.")
    } else {
        format!(
            "It is request {request}. The time runs on although access to Keystone is suspended \
             for your organisation."
        )
    };
    Letter {
        subject: if over {
            "A data-subject request is overdue"
        } else {
            "A data-subject request is due soon"
        },
        name: &contact.name,
        paragraphs: vec![told, found],
        link: None,
        closing: "The GDPR gives one month (Art. 12(3)); where a request is complex, two more, of \
                  which the person must be told within the first.",
    }
    .to(&contact.email)
}

/// Tells `contact`, whom `tenant` named, what the tenant owes to its own
/// security, a paragraph for each thing.
///
/// # Errors
/// As [`invitation`].
pub fn duties(tenant: &TenantRecord, contact: &Contact, owed: &[String]) -> Result<Mail, Problem> {
    let mut paragraphs =
        vec![format!("this is open at {}, and only you can see to it.", tenant.legal_name)];
    paragraphs.extend_from_slice(owed);
    Letter {
        subject: "What is open for the security of your account",
        name: &contact.name,
        paragraphs,
        link: None,
        closing: "Keystone calls it to mind once a week until it is done.",
    }
    .to(&contact.email)
}

/// What a letter says of a breach: the content of Art. 33(3) GDPR.
pub struct Breach<'a> {
    /// The incident's id, as the tenant knows it.
    pub incident: Id,
    /// When we confirmed it.
    pub confirmed_at: Timestamp,
    /// What happened.
    pub nature: &'a str,
    /// Who is affected: categories and approximate number, in words.
    pub subjects: &'a str,
    /// Which data: categories and approximate number of records, in words.
    pub records: &'a str,
    /// What is likely to come of it.
    pub consequences: &'a str,
    /// What was done and is proposed.
    pub measures: &'a str,
    /// Where more can be learnt, in words.
    pub contact: &'a str,
}

/// Notifies `to`, the primary contact of `tenant`, of a breach of personal data
/// (GDPR Art. 33(2)). The subject tells nothing of it.
///
/// # Errors
/// As [`invitation`].
pub fn breach(
    public_url: &str,
    tenant: &TenantRecord,
    to: &Contact,
    breach: &Breach<'_>,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Security incident: notice to you as controller (GDPR Art. 33)",
        name: &to.name,
        paragraphs: vec![
            format!(
                "we confirmed a breach of personal data that we process for {}. This is our \
                 notice under Art. 33(2) GDPR.",
                tenant.legal_name
            ),
            format!("Incident: {}, confirmed {}.", breach.incident, in_words(breach.confirmed_at)),
            format!("What happened: {}", breach.nature),
            format!("People affected: {}.", breach.subjects),
            format!("Data affected: {}.", breach.records),
            format!("Likely consequences: {}", breach.consequences),
            format!("Measures: {}", breach.measures),
            format!("Contact: {}.", breach.contact),
            "You are the controller. Art. 33(1) GDPR gives you 72 hours from when you become \
             aware, that is from this notice, to notify your supervisory authority, unless a risk \
             to people is unlikely. Art. 34 may oblige you to tell the people concerned."
                .into(),
        ],
        link: Some(Link {
            label: "Timeline, both deadlines and the signed report",
            url: format!("{public_url}/incidents/{}", breach.incident),
        }),
        closing: "We send what we learn later as it comes (Art. 33(4) GDPR).",
    }
    .to(&to.email)
}

/// Tells `to` what became known of a breach later: phase `number` of the
/// information (GDPR Art. 33(4)).
///
/// # Errors
/// As [`invitation`].
pub fn breach_update(
    public_url: &str,
    tenant: &TenantRecord,
    to: &Contact,
    (incident, number): (Id, usize),
    text: &str,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Security incident: further information (GDPR Art. 33(4))",
        name: &to.name,
        paragraphs: vec![
            format!(
                "this is further information, number {number}, on the breach of personal data of \
                 which we notified {}.",
                tenant.legal_name
            ),
            format!("Incident: {incident}."),
            text.to_owned(),
        ],
        link: Some(Link {
            label: "Timeline, both deadlines and the signed report",
            url: format!("{public_url}/incidents/{incident}"),
        }),
        closing: "We send what we learn later as it comes.",
    }
    .to(&to.email)
}

/// Sends `to`, the security contact of `tenant`, a notice that stands in the
/// console as well.
///
/// # Errors
/// As [`invitation`].
pub fn notice(
    tenant: &TenantRecord,
    to: &Contact,
    title: &str,
    paragraphs: &[String],
) -> Result<Mail, Problem> {
    let about = format!("this is a notice to {}: {title}", tenant.legal_name);
    Letter {
        subject: "A security notice from Keystone",
        name: &to.name,
        paragraphs: std::iter::once(about).chain(paragraphs.iter().cloned()).collect(),
        link: None,
        closing: "You find it in the console, too.",
    }
    .to(&to.email)
}

/// Tells `to`, the primary contact of `tenant`, that `operator` can look at
/// the tenant's data until `until`, and why.
///
/// # Errors
/// As [`invitation`].
pub fn operator_access(
    tenant: &TenantRecord,
    to: &Contact,
    (id, operator, reason): (Id, &str, &str),
    until: Timestamp,
) -> Result<Mail, Problem> {
    Letter {
        subject: "Somebody at Keystone can look at your data for a while",
        name: &to.name,
        paragraphs: vec![
            format!(
                "{operator} at Keystone can look at the data of {} until {}.",
                tenant.legal_name,
                in_words(until)
            ),
            format!("The reason: {reason}"),
            "They see what a reader of your organisation sees, with addresses, phones and bank \
             accounts masked, and can change nothing. Each of their requests stands in your \
             audit trail."
                .into(),
        ],
        link: None,
        closing: &format!(
            "If you did not expect this, a super_admin of your organisation can end it at once: \
             it is the operator access {id}."
        ),
    }
    .to(&to.email)
}

/// Tells whoever reported a vulnerability, at `address`, what is done about it.
///
/// # Errors
/// As [`invitation`].
pub fn vulnerability_report(address: &str, title: &str, told: &str) -> Result<Mail, Problem> {
    Letter {
        subject: "Your report to Keystone",
        name: "there",
        paragraphs: vec![
            format!("this is about what you reported to us: {title}"),
            told.to_owned(),
        ],
        link: None,
        closing: "The link that you got with your report shows where it stands.",
    }
    .to(address)
}

/// What the provider promises to whoever reports a vulnerability.
const DISCLOSURE_PROMISE: &str = "We promise an acknowledgement within 2 business days and a fix \
                                  or mitigation timeline within 10.";

/// Tells the provider's `contact` that a report of a vulnerability came in, which
/// must be acknowledged by `acknowledge_by`. The letter says nothing of what was
/// reported.
///
/// # Errors
/// As [`invitation`].
pub fn vulnerability_received(
    contact: &Contact,
    report: Id,
    acknowledge_by: Timestamp,
) -> Result<Mail, Problem> {
    Letter {
        subject: "A vulnerability was reported",
        name: &contact.name,
        paragraphs: vec![
            format!("somebody reported a vulnerability: it is the report {report}."),
            format!("It must be acknowledged by {}.", in_words(acknowledge_by)),
            "This letter says nothing of what was reported. An operator reads it with \
             triage-vulnerability."
                .into(),
        ],
        link: None,
        closing: DISCLOSURE_PROMISE,
    }
    .to(&contact.email)
}

/// Tells the provider's `contact` of a deadline of a report of a vulnerability:
/// `what` is to be done. The letter says nothing of what was reported.
///
/// # Errors
/// As [`invitation`].
pub fn vulnerability_deadline(
    contact: &Contact,
    report: Id,
    what: &str,
    missed: bool,
) -> Result<Mail, Problem> {
    let told = if missed {
        format!("the time for the {what} of the report {report} is over, and there is none.")
    } else {
        format!("the {what} of the report {report} is due within a day.")
    };
    Letter {
        subject: if missed {
            "A vulnerability report is overdue"
        } else {
            "A vulnerability report is due soon"
        },
        name: &contact.name,
        paragraphs: vec![told],
        link: None,
        closing: DISCLOSURE_PROMISE,
    }
    .to(&contact.email)
}

/// Tells `contact` of `tenant` of a sub-processor to come: its name, what it does
/// and where, from which day (GDPR Art. 28(2)), and whether data would leave the
/// EU. Who may not sign in, since the tenant is suspended, objects by a letter to
/// `write_to`.
///
/// # Errors
/// As [`invitation`].
pub fn sub_processor(
    tenant: &TenantRecord,
    contact: &Contact,
    (name, purpose, location): (&str, &str, &str),
    (effective_on, outside_eu): (Date, bool),
    write_to: &str,
) -> Result<Mail, Problem> {
    let day = day_in_words(effective_on);
    let of = &tenant.legal_name;
    let object = if tenant.state.serves() {
        "You may object until then: a super_admin finds the change in Keystone under \
         sub-processors. While an objection is open the change waits."
            .to_owned()
    } else {
        format!(
            "You may object until then. Write to {write_to} to do so, and say why, since access \
             to Keystone is suspended for your organisation. While an objection is open the \
             change waits."
        )
    };
    let mut paragraphs = vec![
        format!("from {day} at the earliest, {name} processes data for us, and so data of {of}."),
        format!("What for: {purpose}."),
        format!("Where: {location}."),
        object,
    ];
    if outside_eu {
        paragraphs[0] = format!(
            "from {day} at the earliest, {name} processes data for us: outside the EU, and so data \
             of {of} only with your written consent."
        );
        paragraphs.push(
            "Without that consent none of your data goes there, and you need do nothing. A \
             super_admin records it in Keystone under the tenant's settings and can withdraw it \
             there at any time, with effect at once."
                .into(),
        );
    }
    Letter {
        subject: "A change of our sub-processors",
        name: &contact.name,
        paragraphs,
        link: None,
        closing: "You get this as your tenant's primary contact (GDPR Art. 28(2)).",
    }
    .to(&contact.email)
}

/// Tells the provider's contact, `to`, that a questionnaire which `tenant` asked
/// for, or somebody else through the provider, is due, or `missed` its date.
///
/// # Errors
/// As [`invitation`].
pub fn questionnaire(
    tenant: &TenantRecord,
    to: &Contact,
    (id, due_on): (Id, Date),
    missed: bool,
) -> Result<Mail, Problem> {
    let day = day_in_words(due_on);
    Letter {
        subject: if missed {
            "A security questionnaire is overdue"
        } else {
            "A security questionnaire is due soon"
        },
        name: &to.name,
        paragraphs: vec![
            if missed {
                format!("the questionnaire {id} was due on {day}, and is not answered.")
            } else {
                format!("the questionnaire {id} is due on {day}.")
            },
            format!(
                "It lies with {} ({}). An operator answers and issues it with \
                 handle-questionnaire.",
                tenant.legal_name, tenant.id
            ),
        ],
        link: None,
        closing: "We promise 3 business days for a Lite one and 5 to 7 for others.",
    }
    .to(&to.email)
}

/// What an objection or several are about.
pub struct Announced<'a> {
    /// The change's id.
    pub change: Id,
    /// Name of the sub-processor.
    pub name: &'a str,
    /// The day from which it is used at the earliest.
    pub effective_on: Date,
}

/// Tells the provider's contact, `to`, that `tenant` objects to a sub-processor,
/// and why.
///
/// # Errors
/// As [`invitation`].
pub fn objection(
    tenant: &TenantRecord,
    to: &Contact,
    about: &Announced<'_>,
    reason: &str,
) -> Result<Mail, Problem> {
    let Announced { change, name, effective_on } = about;
    Letter {
        subject: "A customer objects to a sub-processor",
        name: &to.name,
        paragraphs: vec![
            format!(
                "{} ({}) objects to our use of {name}, which is announced for {}.",
                tenant.legal_name,
                tenant.id,
                day_in_words(*effective_on)
            ),
            format!("Their reason: {reason}"),
            format!(
                "The change {change} waits until settle-objection records what came of it, or \
                 withdraw-sub-processor takes the change back."
            ),
        ],
        link: None,
        closing: "Every customer may object (GDPR Art. 28(2)).",
    }
    .to(&to.email)
}

/// Tells `contact` of `tenant` that we have its objection to a sub-processor, which
/// a `super_admin` made or which came `in_writing`.
///
/// # Errors
/// As [`invitation`].
pub fn objection_received(
    tenant: &TenantRecord,
    contact: &Contact,
    about: &Announced<'_>,
    in_writing: bool,
) -> Result<Mail, Problem> {
    let Announced { name, effective_on, .. } = about;
    let (of, day) = (&tenant.legal_name, day_in_words(*effective_on));
    Letter {
        subject: "Your objection to a sub-processor",
        name: &contact.name,
        paragraphs: vec![
            if in_writing {
                format!(
                    "{of} objected in writing to our use of {name}, which is announced for {day}. \
                     We have recorded that."
                )
            } else {
                format!(
                    "a super_admin objected for {of} to our use of {name}, which is announced for \
                     {day}."
                )
            },
            "While the objection is open, none of your data goes there. You find it, and what \
             comes of it, in Keystone under sub-processors."
                .into(),
        ],
        link: None,
        closing: "If this is not right, tell a super_admin of your organisation at once.",
    }
    .to(&contact.email)
}

/// Tells the provider's `contact` that objections to a sub-processor are open,
/// those of the tenants `objecting`, before its day or, if that has `come`, on it.
///
/// # Errors
/// As [`invitation`].
pub fn objections_open(
    contact: &Contact,
    about: &Announced<'_>,
    objecting: &[TenantId],
    come: bool,
) -> Result<Mail, Problem> {
    let Announced { change, name, effective_on } = about;
    let day = day_in_words(*effective_on);
    let who: Vec<&str> = objecting.iter().map(TenantId::as_str).collect();
    let told = if come {
        format!("{name} was announced for {day} and is not used: objections to it are open.")
    } else {
        format!("{name} is announced for {day}, and objections to it are open.")
    };
    Letter {
        subject: if come {
            "Objections hold a sub-processor up"
        } else {
            "Objections to a sub-processor are open"
        },
        name: &contact.name,
        paragraphs: vec![
            told,
            format!("Open are those of: {}.", who.join(", ")),
            format!(
                "settle-objection records what came of one; withdraw-sub-processor takes the \
                 change {change} back."
            ),
        ],
        link: None,
        closing: "While one is open the change waits (GDPR Art. 28(2)).",
    }
    .to(&contact.email)
}

/// A role as people call it.
const fn in_plain_words(role: Role) -> &'static str {
    match role {
        Role::Demo => "a visitor with sample rights",
        Role::Viewer => "a reader",
        Role::OpsUser => "a member of the operations team",
        Role::Admin => "an administrator",
        Role::SuperAdmin => "the main administrator",
    }
}

/// A day as people read it.
fn day_in_words(day: Date) -> String {
    day.strftime("%-d %B %Y").to_string()
}

/// A moment as people read it.
fn in_words(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::TenantState;

    fn eve() -> (TenantRecord, User, MailedToken) {
        let (user, token) = User::invite(
            "Eve@Example.com",
            "<b>Eve</b> & co".into(),
            Role::Viewer,
            0,
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        let tenant = TenantRecord {
            id: TenantId::parse("acme").unwrap(),
            legal_name: "Acme Dairy Ltd".into(),
            country: "IE".into(),
            state: TenantState::Active,
            closing: None,
        };
        (tenant, user, token)
    }

    #[test]
    fn names_cannot_bring_markup() {
        let (tenant, user, token) = eve();
        let mail = invitation("https://app.example", &tenant, &user, &token).unwrap();
        assert_eq!(mail.to, "eve@example.com");
        assert!(mail.text.starts_with("Hello <b>Eve</b> & co,\n\nyou have been invited"));
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        // In words, not in the names of the machine.
        let said = "you have been invited to work in Keystone for Acme Dairy Ltd, as a reader.";
        assert!(mail.text.contains(said), "{}", mail.text);
    }

    #[test]
    fn links_carry_the_token_in_both_parts() {
        let (tenant, user, token) = eve();
        let url = "https://app.example";
        for (mail, path) in [
            (invitation(url, &tenant, &user, &token).unwrap(), "invitations"),
            (password_reset(url, &tenant, &user, &token).unwrap(), "password-reset"),
            (email_change(url, &tenant, &user, "e@x.example", &token).unwrap(), "email-change"),
        ] {
            let link = format!("{url}/{path}/acme#token={}", token.expose());
            assert!(mail.text.contains(&format!(":\n{link}\n\n")), "{}", mail.text);
            assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
        }
    }

    #[test]
    fn a_notice_says_what_changed() {
        let (tenant, user, _) = eve();
        let mail = account_change(&tenant, &user, AccountChange::RecoveryCode(9)).unwrap();
        assert_eq!(
            mail.text,
            "Hello <b>Eve</b> & co,\n\nthis is about your account at Acme Dairy Ltd:\n\n\
             somebody signed in with one of your recovery codes; 9 are left.\n\n\
             If it was not you, tell an administrator of your organisation at once.\n\nKeystone"
        );
    }

    #[test]
    fn a_reminder_says_how_much_time_is_left() {
        let (tenant, ..) = eve();
        let contact = Contact { name: "Orla".into(), email: "orla@example.com".into(), user: None };
        let (id, due) = (Id::from_u128(7), jiff::civil::date(2026, 2, 28));
        for (days_left, said) in [
            (7, "must be answered by 28 February 2026: 7 days are left."),
            (1, "must be answered by 28 February 2026: 1 day is left."),
            (0, "must be answered by 28 February 2026: today is the last day."),
            (-1, "ended on 28 February 2026, and it is not answered."),
        ] {
            let mail = subject_request_deadline(&tenant, &contact, id, due, days_left).unwrap();
            assert!(mail.text.contains(said) && mail.text.contains(&id.to_string()), "{said}");
            assert_eq!(mail.subject.ends_with("overdue"), days_left < 0);
            assert!(mail.text.contains("You find it in Keystone"), "{}", mail.text);
        }
        let away = TenantRecord { state: TenantState::Suspended, ..tenant };
        let mail = subject_request_deadline(&away, &contact, id, due, 1).unwrap();
        assert!(mail.text.contains(&format!("It is request {id}.")), "{}", mail.text);
        assert!(!mail.text.contains("You find it in Keystone"), "nobody can sign in");
    }

    #[test]
    fn a_letter_of_a_report_names_it_and_its_first_deadline() {
        let to = Contact { name: "Orla".into(), email: "o@keystone.example".into(), user: None };
        let mail = vulnerability_received(&to, Id::from_u128(7), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(mail.to, "o@keystone.example");
        for part in [
            "it is the report 00000000-0000-0000-0000-000000000007.",
            "It must be acknowledged by 1 January 1970, 00:00 UTC.",
            "within 2 business days and a fix or mitigation timeline within 10.",
        ] {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
            assert!(mail.html.contains(part), "{part}: {}", mail.html);
        }
    }

    #[test]
    fn who_cannot_sign_in_learns_where_to_write_to() {
        let (tenant, ..) = eve();
        let to = Contact { name: "Orla".into(), email: "o@acme.example".into(), user: None };
        let what = ("Ledger GmbH", "Archiving", "Frankfurt");
        let when = (jiff::civil::date(2026, 6, 30), false);
        let away = TenantRecord { state: TenantState::Suspended, ..tenant.clone() };
        for (tenant, writes) in [(&tenant, false), (&away, true)] {
            let mail = sub_processor(tenant, &to, what, when, "us@keystone.example").unwrap();
            assert_eq!(mail.text.contains("us@keystone.example"), writes, "{}", mail.text);
            assert_eq!(mail.text.contains("a super_admin finds"), !writes, "{}", mail.text);
        }
    }

    #[test]
    fn a_letter_of_objections_says_whose_they_are_and_what_waits() {
        let (tenant, ..) = eve();
        let to = Contact { name: "Orla".into(), email: "o@keystone.example".into(), user: None };
        let effective_on = jiff::civil::date(2026, 6, 30);
        let about = Announced { change: Id::from_u128(7), name: "Ledger GmbH", effective_on };
        let mail = objection(&tenant, &to, &about, "Not in Germany.").unwrap();
        assert_eq!(mail.to, "o@keystone.example");
        for part in [
            "Acme Dairy Ltd (acme) objects to our use of Ledger GmbH",
            "announced for 30 June 2026.",
            "Their reason: Not in Germany.",
            "The change 00000000-0000-0000-0000-000000000007 waits",
        ] {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
        }
        for (in_writing, said) in [
            (false, "a super_admin objected for Acme Dairy Ltd to our use of Ledger GmbH"),
            (true, "Acme Dairy Ltd objected in writing to our use of Ledger GmbH"),
        ] {
            let mail = objection_received(&tenant, &to, &about, in_writing).unwrap();
            assert!(mail.text.contains(said), "{}", mail.text);
        }
        let objecting = ["acme", "dairy"].map(|slug| TenantId::parse(slug).unwrap());
        for (come, said) in [(false, "is announced for"), (true, "and is not used")] {
            let mail = objections_open(&to, &about, &objecting, come).unwrap();
            assert!(mail.text.contains("those of: acme, dairy."), "{}", mail.text);
            assert!(mail.text.contains(said), "{}", mail.text);
        }
    }

    #[test]
    fn a_notice_of_a_breach_says_what_the_law_asks_and_its_subject_nothing() {
        let (tenant, ..) = eve();
        let to = Contact { name: "Orla".into(), email: "o@acme.example".into(), user: None };
        let told = Breach {
            incident: Id::from_u128(7),
            confirmed_at: Timestamp::UNIX_EPOCH,
            nature: "A backup was copied.",
            subjects: "about 40: customers",
            records: "about 80: addresses",
            consequences: "Unwanted calls.",
            measures: "Keys were replaced.",
            contact: "Una Daly, dpl@keystone.example",
        };
        let mail = breach("https://app.example", &tenant, &to, &told).unwrap();
        for part in [
            "1 January 1970, 00:00 UTC",
            "What happened: A backup was copied.",
            "People affected: about 40: customers.",
            "Data affected: about 80: addresses.",
            "Likely consequences: Unwanted calls.",
            "Measures: Keys were replaced.",
            "Contact: Una Daly, dpl@keystone.example.",
            "https://app.example/incidents/00000000-0000-0000-0000-000000000007",
        ] {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
            assert!(mail.html.contains(part), "{part}: {}", mail.html);
            assert!(!mail.subject.contains(part), "{}", mail.subject);
        }
    }

    #[test]
    fn a_letter_of_an_access_says_who_why_and_until_when() {
        let (tenant, ..) = eve();
        let to = Contact { name: "Orla".into(), email: "o@acme.example".into(), user: None };
        let access = (Id::from_u128(7), "Una Daly", "Ticket 7: lot L-7 is missing");
        let mail = operator_access(&tenant, &to, access, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(mail.to, "o@acme.example");
        for part in [
            "Una Daly at Keystone can look at the data of Acme Dairy Ltd until 1 January 1970, \
             00:00 UTC.",
            "The reason: Ticket 7: lot L-7 is missing",
            "the operator access 00000000-0000-0000-0000-000000000007.",
        ] {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
            assert!(mail.html.contains(part), "{part}: {}", mail.html);
        }
    }

    #[test]
    fn a_former_address_hears_whether_it_stays_a_contact() {
        let (tenant, user, _) = eve();
        for still_contact in [true, false] {
            let change = AccountChange::Email { still_contact };
            let mail = account_change(&tenant, &user, change).unwrap();
            assert!(mail.text.contains("This one signs nobody in any more."), "{}", mail.text);
            assert_eq!(mail.text.contains("A super_admin of your"), still_contact, "{}", mail.text);
        }
    }
}

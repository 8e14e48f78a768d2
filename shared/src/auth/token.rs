//! Session tokens: JSON Web Tokens (RFC 7519) in JWS compact form (RFC 7515),
//! signed with HMAC-SHA-256 (`HS256`, RFC 7518 §3.2) and nothing else.
//!
//! We are the only issuer and the only audience, so a token's header has one
//! valid spelling per key and kind. It is compared as a whole and never parsed:
//! another `alg`, `typ`, `kid` or a `crit` is a different header, and there is
//! no algorithm to confuse. A general JWT library would parse the header of
//! every stranger first.
//!
//! There are two kinds, told apart by `typ` (RFC 8725 §3.11) and by their
//! claims, so that neither is ever taken for the other: tokens of users'
//! sessions, and tokens of operators' accesses.

use std::fmt;

use aws_lc_rs::hmac::{self, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{HmacKeys, KeysError};
use super::operator::OperatorAccess;
use super::session::SessionRecord;
use crate::tenant::{Id, Stored, TenantId};

/// Most bytes of a token.
const MAX_TOKEN_BYTES: usize = 4096;

/// Seconds by which a token may have been issued in the verifier's future:
/// what two well-kept clocks may differ.
const MAX_CLOCK_SKEW: i64 = 60;

/// The `typ` of a session's token.
const SESSION: &str = "JWT";

/// The `typ` of the token of an operator's access.
const OPERATOR: &str = "operator-access+jwt";

/// Who issues tokens and for whom, as `iss` and `aud` name them.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'a> {
    /// The `iss` claim.
    pub issuer: &'a str,
    /// The `aud` claim.
    pub audience: &'a str,
}

/// What a token says (RFC 7519 §4). Exactly these members, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Subject: id of the user.
    pub sub: Id,
    /// Slug of the tenant.
    pub tid: String,
    /// Name of the role at sign-in.
    pub role: String,
    /// Id of the session.
    pub sid: Id,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// Issued at, epoch seconds.
    pub iat: i64,
    /// End of the session at the latest, epoch seconds.
    pub exp: i64,
}

impl Claims {
    /// The claims of a session's token.
    pub fn of(session: &SessionRecord, parties: Parties<'_>) -> Self {
        Self {
            iss: parties.issuer.to_owned(),
            aud: parties.audience.to_owned(),
            sub: session.user,
            tid: session.tenant.clone(),
            role: session.role.clone(),
            sid: session.sid,
            amr: session.amr.clone(),
            iat: session.created_at.as_second(),
            exp: session.expires_at.as_second(),
        }
    }
}

/// What the token of an operator's access says. Exactly these members, each
/// once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Subject: id of the access.
    pub sub: Id,
    /// Slug of the tenant.
    pub tid: String,
    /// Issued at, epoch seconds.
    pub iat: i64,
    /// End of the access at the latest, epoch seconds.
    pub exp: i64,
}

impl AccessClaims {
    /// The claims of the token of an access to `tenant`.
    pub fn of(tenant: &TenantId, access: &Stored<OperatorAccess>, parties: Parties<'_>) -> Self {
        Self {
            iss: parties.issuer.to_owned(),
            aud: parties.audience.to_owned(),
            sub: access.id,
            tid: tenant.as_str().to_owned(),
            iat: access.created_at.as_second(),
            exp: access.entity.until.as_second(),
        }
    }
}

/// From when to when a token is valid, and between whom.
trait Bounded {
    /// `iss`, `aud`, `iat`, `exp`.
    fn bounds(&self) -> (&str, &str, i64, i64);
}

impl Bounded for Claims {
    fn bounds(&self) -> (&str, &str, i64, i64) {
        (&self.iss, &self.aud, self.iat, self.exp)
    }
}

impl Bounded for AccessClaims {
    fn bounds(&self) -> (&str, &str, i64, i64) {
        (&self.iss, &self.aud, self.iat, self.exp)
    }
}

/// Not a token that is valid now. Deliberately says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid token")]
pub struct InvalidToken;

/// The keys that sign and verify session tokens.
pub struct SigningKeys(HmacKeys);

impl SigningKeys {
    /// Parses the secret `{"current":"k1","k1":"<key>", ...}`: new tokens are
    /// signed with the key that `current` names, tokens of the others stay
    /// valid.
    ///
    /// # Errors
    /// [`KeysError`] when the secret has another shape, a key has fewer than
    /// 32 bytes or `current` names none.
    pub fn from_secret_json(secret: &str) -> Result<Self, KeysError> {
        HmacKeys::parse(secret).map(Self)
    }

    /// The signed token for `claims`.
    ///
    /// # Errors
    /// Never for claims of this type; the signature is that of the JSON
    /// serializer.
    pub fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        self.sign_as(SESSION, claims)
    }

    /// The signed token for an operator's access.
    ///
    /// # Errors
    /// As [`SigningKeys::sign`].
    pub fn sign_access(&self, claims: &AccessClaims) -> Result<String, serde_json::Error> {
        self.sign_as(OPERATOR, claims)
    }

    fn sign_as(&self, kind: &str, claims: &impl Serialize) -> Result<String, serde_json::Error> {
        let (id, key) = self.0.current();
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signing_input = format!("{}.{payload}", header(kind, id));
        let signature = signature(key, &signing_input);
        Ok(format!("{signing_input}.{signature}"))
    }

    /// The claims of `token` if it was issued by these keys between `parties`
    /// and is valid at `now`: `exp` is later, without leeway, and `iat` at
    /// most 60 s ahead. The session record has the last word afterwards.
    ///
    /// # Errors
    /// [`InvalidToken`] for everything else.
    pub fn verify(
        &self,
        token: &str,
        parties: Parties<'_>,
        now: Timestamp,
    ) -> Result<Claims, InvalidToken> {
        self.verify_as(SESSION, token, parties, now)
    }

    /// As [`SigningKeys::verify`], for the token of an operator's access. The
    /// access itself has the last word afterwards.
    ///
    /// # Errors
    /// As [`SigningKeys::verify`].
    pub fn verify_access(
        &self,
        token: &str,
        parties: Parties<'_>,
        now: Timestamp,
    ) -> Result<AccessClaims, InvalidToken> {
        self.verify_as(OPERATOR, token, parties, now)
    }

    fn verify_as<C: DeserializeOwned + Bounded>(
        &self,
        kind: &str,
        token: &str,
        parties: Parties<'_>,
        now: Timestamp,
    ) -> Result<C, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
        let (presented, payload) = signing_input.split_once('.').ok_or(InvalidToken)?;
        let (_, key) =
            self.0.iter().find(|(id, _)| header(kind, id) == presented).ok_or(InvalidToken)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken)?;
        hmac::verify(key, signing_input.as_bytes(), &signature).map_err(|_| InvalidToken)?;

        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| InvalidToken)?;
        let claims: C = serde_json::from_slice(&payload).map_err(|_| InvalidToken)?;
        let now = now.as_second();
        let (issuer, audience, issued_at, expires_at) = claims.bounds();
        let valid = issuer == parties.issuer
            && audience == parties.audience
            && now < expires_at
            && issued_at <= now.saturating_add(MAX_CLOCK_SKEW);
        valid.then_some(claims).ok_or(InvalidToken)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The one header of tokens of a kind signed with the key `id`. An id has no
/// character that JSON escapes.
fn header(kind: &str, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","typ":"{kind}","kid":"{id}"}}"#))
}

fn signature(key: &Key, signing_input: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, signing_input.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;
    const PARTIES: Parties<'static> =
        Parties { issuer: "https://keystone.example", audience: "keystone-api" };

    /// Made with Python's `hmac`, `json` and `base64` from the same key.
    const GOLDEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.\
        eyJpc3MiOiJodHRwczovL2tleXN0b25lLmV4YW1wbGUiLCJhdWQiOiJrZXlzdG9uZS1hcGkiLCJzdWIiOiIwMTg5\
        MDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJ0aWQiOiJhY21lLWRhaXJ5Iiwicm9sZSI6ImFkbWlu\
        Iiwic2lkIjoiMDE4OTAwMDAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAyIiwiYW1yIjpbInB3ZCJdLCJpYXQi\
        OjE3MDAwMDAwMDAsImV4cCI6MTcwMDA4NjQwMH0.KjhL9xAcbs_swN11GXiveQWBb-hzhm3YZzHZaI85CJM";

    fn keys() -> SigningKeys {
        SigningKeys::from_secret_json(SECRET).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            iss: PARTIES.issuer.into(),
            aud: PARTIES.audience.into(),
            sub: Id::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0001),
            tid: "acme-dairy".into(),
            role: "admin".into(),
            sid: Id::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0002),
            amr: vec!["pwd".into()],
            iat: 1_700_000_000,
            exp: 1_700_086_400,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn verify(token: &str) -> Result<Claims, InvalidToken> {
        keys().verify(token, PARTIES, at(1_700_000_000))
    }

    /// A token over these exact texts with a correct signature.
    fn forged(header: &str, payload: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signing_input = format!("{}.{}", encode(header), encode(payload));
        let signature = signature(keys().0.current().1, &signing_input);
        format!("{signing_input}.{signature}")
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#;

    fn payload() -> String {
        serde_json::to_string(&claims()).unwrap()
    }

    #[test]
    fn rfc_7515_appendix_a_1() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\
                   aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(key).unwrap());
        let signing_input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                             cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        assert_eq!(signature(&key, signing_input), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn another_implementation_makes_the_same_token() {
        assert_eq!(keys().sign(&claims()).unwrap(), GOLDEN);
        assert_eq!(verify(GOLDEN), Ok(claims()));
        assert_eq!(forged(HEADER, &payload()), GOLDEN);
    }

    #[test]
    fn every_other_header_is_refused_even_when_signed() {
        for header in [
            r#"{"alg":"none","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"RS256","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"HS512","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"hs256","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"k2"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JOSE","kid":"k1"}"#,
            r#"{"alg":"HS256","kid":"k1"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"k1","crit":["exp"]}"#,
            r#"{"alg":"HS256","alg":"HS256","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"k1"} "#,
            "",
        ] {
            assert_eq!(verify(&forged(header, &payload())), Err(InvalidToken), "{header}");
        }
    }

    #[test]
    fn every_other_payload_is_refused_even_when_signed() {
        let valid = payload();
        for payload in [
            valid.replacen('{', r#"{"exp":1800000000,"#, 1),
            valid.replacen('{', r#"{"nbf":0,"#, 1),
            valid.replace(r#""tid":"acme-dairy","#, ""),
            valid.replace("1700086400", "1700086400.5"),
            valid.replace("1700086400", r#""1700086400""#),
            valid.replace("1700086400", "99999999999999999999"),
            format!("{valid}{{}}"),
            format!("[{valid}]"),
            String::new(),
        ] {
            assert_ne!(payload, valid);
            assert_eq!(verify(&forged(HEADER, &payload)), Err(InvalidToken), "{payload}");
        }
    }

    #[test]
    fn other_spellings_of_a_valid_token_are_refused() {
        let (signing_input, signature) = GOLDEN.rsplit_once('.').unwrap();
        let key = keys();
        let resigned =
            |input: &str| format!("{input}.{}", super::signature(key.0.current().1, input));
        for token in [
            format!("{GOLDEN}="),
            format!("{GOLDEN} "),
            format!(" {GOLDEN}"),
            format!("{GOLDEN}."),
            format!("{GOLDEN}.{signature}"),
            signing_input.to_owned(),
            format!("{signing_input}."),
            // 32 bytes leave two bits of the last character unused.
            format!("{}N", GOLDEN.strip_suffix('M').unwrap()),
            // The standard alphabet instead of the URL-safe one.
            format!("{signing_input}.{}", signature.replace('_', "/").replace('-', "+")),
            resigned(&format!("{signing_input}=")),
            resigned(&format!("{signing_input}.")),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(verify(&token), Err(InvalidToken), "{token}");
        }
    }

    #[test]
    fn an_oversized_token_is_refused() {
        let role_of = |chars| Claims { role: "r".repeat(chars), ..claims() };
        let largest = keys().sign(&role_of(2700)).unwrap();
        let too_large = keys().sign(&role_of(2900)).unwrap();
        assert!(largest.len() <= MAX_TOKEN_BYTES && too_large.len() > MAX_TOKEN_BYTES);
        assert!(verify(&largest).is_ok());
        assert_eq!(verify(&too_large), Err(InvalidToken));
    }

    #[test]
    fn times_are_exact() {
        let verify = |second| keys().verify(GOLDEN, PARTIES, at(second)).is_ok();
        assert!(verify(1_700_086_399));
        assert!(!verify(1_700_086_400));
        assert!(verify(1_700_000_000 - MAX_CLOCK_SKEW));
        assert!(!verify(1_700_000_000 - MAX_CLOCK_SKEW - 1));
    }

    #[test]
    fn parties_must_match() {
        let verify = |issuer, audience| {
            keys().verify(GOLDEN, Parties { issuer, audience }, at(1_700_000_000)).is_ok()
        };
        assert!(verify(PARTIES.issuer, PARTIES.audience));
        assert!(!verify(PARTIES.audience, PARTIES.issuer));
        assert!(!verify("https://keystone.example/", PARTIES.audience));
    }

    #[test]
    fn a_key_can_be_replaced_while_its_tokens_live() {
        let with = |secret: &str| SigningKeys::from_secret_json(secret).unwrap();
        let other = "another key, another key, another key";
        let both = with(&format!(
            r#"{{"current":"k2","k1":"0123456789abcdef0123456789abcdef","k2":"{other}"}}"#
        ));
        let later = with(&format!(r#"{{"current":"k2","k2":"{other}"}}"#));
        let same_id = with(&format!(r#"{{"current":"k1","k1":"{other}"}}"#));
        let now = at(1_700_000_000);
        assert!(both.verify(GOLDEN, PARTIES, now).is_ok());
        assert!(later.verify(GOLDEN, PARTIES, now).is_err());
        assert!(same_id.verify(GOLDEN, PARTIES, now).is_err());
        let new = both.sign(&claims()).unwrap();
        assert!(later.verify(&new, PARTIES, now).is_ok());
        assert!(keys().verify(&new, PARTIES, now).is_err());
    }

    fn access() -> Stored<OperatorAccess> {
        Stored {
            id: Id::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0003),
            version: 1,
            created_at: at(1_700_000_000),
            updated_at: at(1_700_000_000),
            entity: OperatorAccess {
                operator: "Una Daly".into(),
                reason: "Ticket 7: lot L-7 is missing".into(),
                until: at(1_700_000_600),
                epoch: 0,
                ended: None,
            },
        }
    }

    #[test]
    fn the_token_of_an_access_ends_with_it() {
        let tenant = TenantId::parse("acme-dairy").unwrap();
        let claims = AccessClaims::of(&tenant, &access(), PARTIES);
        let token = keys().sign_access(&claims).unwrap();
        let verify = |second| keys().verify_access(&token, PARTIES, at(second));
        assert_eq!(verify(1_700_000_000), Ok(claims));
        assert!(verify(1_700_000_599).is_ok());
        assert_eq!(verify(1_700_000_600), Err(InvalidToken));
        // Neither its bearer's name nor the reason travels with it.
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let payload = String::from_utf8(payload).unwrap();
        assert!(!payload.contains("Una") && !payload.contains("Ticket"), "{payload}");
    }

    #[test]
    fn no_token_is_taken_for_one_of_the_other_kind() {
        let tenant = TenantId::parse("acme-dairy").unwrap();
        let of_access = AccessClaims::of(&tenant, &access(), PARTIES);
        let of_access = serde_json::to_string(&of_access).unwrap();
        let operator = r#"{"alg":"HS256","typ":"operator-access+jwt","kid":"k1"}"#;
        let now = at(1_700_000_000);
        for (header, payload, user, access) in [
            (HEADER, &payload(), true, false),
            (operator, &of_access, false, true),
            // Signed as one kind with the claims of the other.
            (HEADER, &of_access, false, false),
            (operator, &payload(), false, false),
        ] {
            let token = forged(header, payload);
            assert_eq!(verify(&token).is_ok(), user, "{header} {payload}");
            let verified = keys().verify_access(&token, PARTIES, now).is_ok();
            assert_eq!(verified, access, "{header} {payload}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_byte_is_accepted(index in 0..GOLDEN.len(), replacement in 0u8..128) {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            prop_assume!(bytes[index] != replacement);
            bytes[index] = replacement;
            prop_assert_eq!(verify(&String::from_utf8(bytes).unwrap()), Err(InvalidToken));
        }

        #[test]
        fn arbitrary_text_is_refused_quietly(text in ".{0,300}") {
            prop_assert_eq!(verify(&text), Err(InvalidToken));
        }
    }
}

//! Accesses of operators to a tenant, as an operator is granted them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Client, Stack};

/// Who looks.
pub const OPERATOR: &str = "Una Daly";

/// Why.
pub const REASON: &str = "Ticket 4711: a lot is missing in a trace";

/// An access that was granted.
pub struct Access {
    /// Its id.
    pub id: String,
    /// When it ends.
    pub until: Timestamp,
    /// The operator, whose requests are none of the tenant's people's.
    pub client: Client,
}

/// Grants an operator access to the tenant `slug`.
pub async fn grant(stack: &Stack, slug: &str, minutes: u16) -> Access {
    let event =
        json!({ "operator": OPERATOR, "tenant": slug, "reason": REASON, "minutes": minutes });
    let granted = stack.aws().invoke(&stack.function("grant-operator-access"), &event).await;
    let text = |name: &str| granted[name].as_str().expect("the answer is complete");
    Access {
        id: text("id").to_owned(),
        until: text("until").parse().expect("a time"),
        client: stack.client().with_token(text("token")),
    }
}

/// What the refusal of a grant says.
pub async fn refused(stack: &Stack, event: &Value) -> String {
    let function = stack.function("grant-operator-access");
    let failed = stack.aws().invoke_to_the_end(&function, event).await;
    assert!(failed["errorType"].is_string(), "it was granted: {failed}");
    failed["errorMessage"].as_str().expect("a problem").to_owned()
}

//! The end of a recall: its conclusion, and how much of what had left is
//! accounted for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keystone::Problem;
use keystone::http::Call;
use keystone::tenant::{Id, Stored, WriteTx};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::notice::{self, Facts, Fate, Kind};
use super::{Recall, State};
use crate::epcis::quantity::{Dimension, to_base};

/// How a recall ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// The user who closed it.
    pub by: Id,
    /// What came of it.
    pub conclusion: String,
    /// What was accounted for then.
    pub effectiveness: Effectiveness,
}

/// How far a recall reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effectiveness {
    /// Those who got affected goods and are known by name or key.
    pub recipients: u32,
    /// Of them, those who were told.
    pub notified: u32,
    /// Of them, those who answered.
    pub responded: u32,
    /// What had left, and what became of it; one for each unit.
    pub goods: Vec<Account>,
}

/// What became of goods that had left: dispatched = returned + destroyed +
/// used + outstanding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RecallAccount")]
pub struct Account {
    /// `KGM`, `LTR` or `H87`.
    pub unit: String,
    /// What had left.
    #[schemars(with = "String")]
    pub dispatched: Decimal,
    /// What comes back.
    #[schemars(with = "String")]
    pub returned: Decimal,
    /// What was destroyed where it was.
    #[schemars(with = "String")]
    pub destroyed: Decimal,
    /// What was sold or eaten.
    #[schemars(with = "String")]
    pub used: Decimal,
    /// What nobody has accounted for.
    #[schemars(with = "String")]
    pub outstanding: Decimal,
    /// All but `outstanding`, as a share of `dispatched`, in percent to two
    /// decimals.
    #[schemars(with = "String")]
    pub accounted_percent: Decimal,
    /// `returned` and `destroyed`, as a share of `dispatched`, in percent to
    /// two decimals.
    #[schemars(with = "String")]
    pub recovered_percent: Decimal,
}

impl Effectiveness {
    /// What was accounted for by these notices.
    pub fn new(finding: &Finding, facts: &[Facts]) -> Self {
        let named = finding.recipients.iter().filter(|one| one.recipient.is_some()).count();
        // Who answered was told, whether or not that was recorded.
        let told: BTreeSet<&str> = facts.iter().map(|facts| facts.recipient.as_str()).collect();
        let answered: BTreeSet<&str> = facts
            .iter()
            .filter(|facts| facts.kind == Kind::Responded)
            .map(|facts| facts.recipient.as_str())
            .collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            recipients: count(named),
            notified: count(told.len()),
            responded: count(answered.len()),
            goods: accounts(finding, facts),
        }
    }
}

fn accounts(finding: &Finding, facts: &[Facts]) -> Vec<Account> {
    let mut left: BTreeMap<Dimension, Decimal> = BTreeMap::new();
    for sent in finding.recipients.iter().flat_map(|one| &one.lots) {
        for amount in &sent.dispatched {
            if let Some((dimension, amount)) = to_base(amount.value, &amount.unit) {
                *left.entry(dimension).or_default() += amount;
            }
        }
    }
    let fate = |dimension: Dimension, fate: Fate| -> Decimal {
        facts
            .iter()
            .flat_map(|facts| &facts.goods)
            .filter(|goods| goods.fate == fate)
            .filter_map(|goods| to_base(goods.quantity.value, goods.quantity.unit.code()))
            .filter(|(of, _)| *of == dimension)
            .map(|(_, amount)| amount)
            .sum()
    };
    let accounts = left.into_iter().filter(|(_, dispatched)| *dispatched > Decimal::ZERO);
    accounts
        .map(|(dimension, dispatched)| {
            let [returned, destroyed, used] =
                [Fate::Returned, Fate::Destroyed, Fate::Used].map(|kind| fate(dimension, kind));
            let percent =
                |part: Decimal| (part * Decimal::ONE_HUNDRED / dispatched).round_dp(2).normalize();
            Account {
                unit: dimension.unit().into(),
                dispatched: dispatched.normalize(),
                returned: returned.normalize(),
                destroyed: destroyed.normalize(),
                used: used.normalize(),
                outstanding: (dispatched - returned - destroyed - used).normalize(),
                accounted_percent: percent(returned + destroyed + used),
                recovered_percent: percent(returned + destroyed),
            }
        })
        .collect()
}

/// What a recall is closed with.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// What came of it, and what is to be done.
    #[schemars(length(min = 1, max = 4000))]
    conclusion: String,
}

impl Close {
    /// Closes the recall, if it is still at the `version` that the client saw.
    ///
    /// # Errors
    /// 404 when there is no such recall; 409 when it is closed; 412 when it
    /// was changed meanwhile, by a notice for instance.
    pub async fn apply(
        &self,
        call: &Call,
        tx: &mut WriteTx<'_>,
        (recall, version): (Id, i64),
        finding: &Finding,
    ) -> Result<Stored<Recall>, Problem> {
        let before = super::open_in(tx, recall).await?.at_version(version)?;
        let facts = notice::facts_in(tx, recall).await?;
        let closed = Closed {
            at: call.now(),
            by: call.principal().user(),
            conclusion: self.conclusion.clone(),
            effectiveness: Effectiveness::new(finding, &facts),
        };
        let after = Recall { state: State::Closed, closed: Some(closed), ..before.entity.clone() };
        Ok(tx.replace(&before, after).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall::finding::{Amount, Recipient, SentLot};
    use crate::recall::notice::Goods;

    fn finding() -> Finding {
        let sent = |lot: &str, value: &str| SentLot {
            lot: lot.into(),
            dispatched: vec![Amount { value: value.parse().unwrap(), unit: "KGM".into() }],
            last_at: Timestamp::UNIX_EPOCH,
            within: vec![],
        };
        let recipient =
            |name: Option<&str>, lots| Recipient { recipient: name.map(Into::into), lots };
        Finding {
            recipients: vec![
                recipient(None, vec![sent("A", "1")]),
                recipient(Some("x"), vec![sent("A", "2"), sent("B", "3")]),
                recipient(Some("y"), vec![sent("A", "3")]),
            ],
            ..Finding::default()
        }
    }

    fn answer(lot: &str, fate: Fate, value: &str, unit: &str) -> Facts {
        let quantity = serde_json::json!({ "value": value, "unit": unit });
        let goods = vec![Goods {
            lot: lot.into(),
            fate,
            quantity: serde_json::from_value(quantity).unwrap(),
        }];
        Facts { recipient: "x".into(), kind: Kind::Responded, goods }
    }

    #[test]
    fn what_left_is_returned_destroyed_used_or_outstanding() {
        let told = Facts { recipient: "y".into(), kind: Kind::Notified, goods: vec![] };
        let facts = [
            told,
            answer("A", Fate::Returned, "1500", "GRM"),
            answer("B", Fate::Destroyed, "1", "KGM"),
            answer("B", Fate::Used, "0.5", "KGM"),
        ];
        let shown = Effectiveness::new(&finding(), &facts);
        assert_eq!((shown.recipients, shown.notified, shown.responded), (2, 2, 1));
        let of = |text: &str| text.parse::<Decimal>().unwrap();
        let account = &shown.goods[0];
        assert_eq!(
            (account.dispatched, account.outstanding, account.returned),
            (of("9"), of("6"), of("1.5"))
        );
        assert_eq!(
            (account.accounted_percent, account.recovered_percent),
            (of("33.33"), of("27.78"))
        );
        let open = notice::outstanding(&finding().recipients[1], &facts);
        assert_eq!(open["A"][&Dimension::Mass], of("0.5"));
        assert_eq!(open["B"][&Dimension::Mass], of("1.5"));
    }

    #[test]
    fn where_nothing_left_nothing_is_to_be_accounted_for() {
        assert_eq!(Effectiveness::new(&Finding::default(), &[]), Effectiveness::default());
    }
}

//! The tables of a pack.

use std::collections::BTreeMap;

use keystone_report::{Column, Table, time};

use super::{Contents, NoticeWords};
use crate::recall::finding::{Amount, Side};
use crate::recall::notice::{Facts, outstanding};

fn words(amounts: &[Amount]) -> String {
    amounts.iter().map(Amount::words).collect::<Vec<_>>().join(", ")
}

const fn column(heading: &'static str, width: f32) -> Column {
    Column { heading, width }
}

/// Affected lots, then origins.
pub struct Lots<'c>(&'c Contents);

impl<'c> Lots<'c> {
    pub fn new(contents: &'c Contents) -> Self {
        Self(contents)
    }
}

const LOTS: [Column; 8] = [
    column("Lot", 150.0),
    column("Product", 130.0),
    column("Step", 62.0),
    column("Incoming", 72.0),
    column("Consumed", 72.0),
    column("Dispatched", 72.0),
    column("Waste; unaccounted", 92.0),
    column("Stock, and where it came in", 120.0),
];

impl Table for Lots<'_> {
    fn title(&self) -> &'static str {
        "Lots"
    }

    fn columns(&self) -> &[Column] {
        &LOTS
    }

    fn rows(&self) -> usize {
        self.0.finding.lots.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(lot) = self.0.finding.lots.get(index) else { return };
        cell(0, &lot.lot);
        cell(1, lot.product.as_deref().unwrap_or("not known here"));
        let step = match (lot.side, lot.depth) {
            (Side::Affected, 0) => "named".to_owned(),
            (Side::Affected, depth) => format!("{depth} forward"),
            (Side::Origin, depth) => format!("{depth} back"),
        };
        cell(2, &step);
        cell(3, &words(&lot.incoming));
        for supplier in &lot.suppliers {
            cell(3, &format!("from {supplier}"));
        }
        cell(4, &words(&lot.consumed));
        cell(5, &words(&lot.dispatched));
        cell(6, &words(&lot.wasted));
        if lot.unaccounted.iter().any(|amount| !amount.value.is_zero()) {
            cell(6, &format!("unaccounted {}", words(&lot.unaccounted)));
        }
        cell(7, &words(&lot.stock));
        for place in &lot.places {
            cell(7, &format!("GLN {place}"));
        }
    }
}

/// What went into what.
pub struct Links<'c>(&'c Contents);

impl<'c> Links<'c> {
    pub fn new(contents: &'c Contents) -> Self {
        Self(contents)
    }
}

const LINKS: [Column; 4] = [
    column("Lot that went in", 220.0),
    column("Lot that came out", 220.0),
    column("Quantity that went in", 120.0),
    column("Event", 210.0),
];

impl Table for Links<'_> {
    fn title(&self) -> &'static str {
        "What went into what"
    }

    fn columns(&self) -> &[Column] {
        &LINKS
    }

    fn rows(&self) -> usize {
        self.0.finding.links.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(link) = self.0.finding.links.get(index) else { return };
        cell(0, &link.from);
        cell(1, &link.to);
        let quantity = link.quantity.map_or("not known".to_owned(), |quantity| {
            format!("{quantity} {}", link.unit.as_deref().unwrap_or_default())
        });
        cell(2, &quantity);
        cell(3, &link.event_id.to_string());
    }
}

/// Whom affected goods went to.
pub struct Recipients<'c> {
    contents: &'c Contents,
    /// What each answered.
    facts: BTreeMap<&'c str, Vec<Facts>>,
}

impl<'c> Recipients<'c> {
    pub fn new(contents: &'c Contents) -> Self {
        let mut facts: BTreeMap<&str, Vec<Facts>> = BTreeMap::new();
        for NoticeWords { notice, .. } in &contents.notices {
            facts.entry(&notice.recipient).or_default().push(notice.facts());
        }
        Self { contents, facts }
    }
}

const RECIPIENTS: [Column; 6] = [
    column("Customer", 190.0),
    column("Contact", 140.0),
    column("Lot", 150.0),
    column("Dispatched", 90.0),
    column("Last left (UTC)", 100.0),
    column("Outstanding", 100.0),
];

impl Table for Recipients<'_> {
    fn title(&self) -> &'static str {
        "Customers"
    }

    fn columns(&self) -> &[Column] {
        &RECIPIENTS
    }

    fn rows(&self) -> usize {
        self.contents.finding.recipients.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(one) = self.contents.finding.recipients.get(index) else { return };
        cell(0, &self.contents.name(one.recipient.as_deref()));
        if let Some(id) = &one.recipient {
            cell(0, id);
        }
        if let Some(customer) = one.customer().and_then(|id| self.contents.customers.get(&id)) {
            if let Some(gln) = &customer.gln {
                cell(0, &format!("GLN {gln}"));
            }
            if let Some(phone) = &customer.phone {
                cell(1, phone);
            }
            if let Some(address) = &customer.delivery_address {
                cell(1, &address.words());
            }
        }
        let facts = one.recipient.as_deref().and_then(|id| self.facts.get(id));
        let open = outstanding(one, facts.map_or(&[], Vec::as_slice));
        for sent in &one.lots {
            cell(2, &sent.lot);
            cell(3, &words(&sent.dispatched));
            cell(4, &time(sent.last_at));
            let left: Vec<String> = open
                .get(&sent.lot)
                .into_iter()
                .flatten()
                .map(|(dimension, value)| format!("{} {}", value.normalize(), dimension.unit()))
                .collect();
            cell(5, &left.join(", "));
        }
    }
}

/// What was said to customers and by them.
pub struct Notices<'c>(&'c Contents);

impl<'c> Notices<'c> {
    pub fn new(contents: &'c Contents) -> Self {
        Self(contents)
    }
}

const NOTICES: [Column; 6] = [
    column("Time (UTC)", 100.0),
    column("Customer", 160.0),
    column("What", 80.0),
    column("Goods", 180.0),
    column("With whom, and what was said", 150.0),
    column("Recorded by", 100.0),
];

impl Table for Notices<'_> {
    fn title(&self) -> &'static str {
        "Notices and answers"
    }

    fn columns(&self) -> &[Column] {
        &NOTICES
    }

    fn rows(&self) -> usize {
        self.0.notices.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(words) = self.0.notices.get(index) else { return };
        let notice = &words.notice;
        cell(0, &time(notice.at));
        cell(1, &self.0.name(Some(&notice.recipient)));
        cell(2, &format!("{} by {}", notice.kind.words(), notice.channel.words()));
        for goods in &notice.goods {
            let quantity = &goods.quantity;
            let (fate, unit) = (goods.fate.words(), quantity.unit.code());
            cell(3, &format!("{} {unit} {fate} of {}", quantity.value, goods.lot));
        }
        for text in words.contact.iter().chain(&words.note) {
            cell(4, text);
        }
        cell(5, &notice.by.to_string());
    }
}

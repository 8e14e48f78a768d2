//! The pages before the picture: what was done, in what time, to which effect,
//! which clauses it can serve, and how to verify it.

use keystone_report::{Pen, time};

use super::{Contents, duration};
use crate::ledger::Limit;
use crate::recall::State;
use crate::recall::finding::Side;

/// A clause with what of the pack can be evidence for it.
struct Clause {
    name: &'static str,
    title: &'static str,
    serves: &'static str,
    beside: &'static str,
}

/// The clauses that a recall can serve. Titles are shortened; the standards'
/// own text decides.
const CLAUSES: [Clause; 4] = [
    Clause {
        name: "BRCGS 3.9",
        title: "Traceability",
        serves: "a test of traceability from the named lots to the customers whom recorded \
                 dispatches name, with the time it took, the target of four hours and the mass \
                 balance as far as amounts were recorded",
        beside: "that the test is made at the planned interval and over the range of products, \
                 and goods, packaging and processing aids that were not entered here",
    },
    Clause {
        name: "BRCGS 3.11",
        title: "Incidents, product withdrawal and product recall",
        serves: "what users recorded: who was told when, what they answered, what came back, the \
                 conclusion; for an exercise, when it was started and closed",
        beside: "the written procedure, letters or call records that show what was said, and that \
                 authorities and the certification body were informed where that is due",
    },
    Clause {
        name: "BRCGS 5.4",
        title: "Product authenticity, claims and chain of custody",
        serves: "the chain of custody as it was recorded: which quantity of which lot went into \
                 which, and to whom",
        beside: "that what was entered is true: tests, certificates, vulnerability assessments",
    },
    Clause {
        name: "(EC) 178/2002 Art. 18",
        title: "Traceability of food",
        serves: "one step back (suppliers of lots that were received) and one step forward \
                 (customers of lots that were dispatched), as far as records name them",
        beside: "movements that were never entered here",
    },
];

const VERIFY: [&str; 3] = [
    "1. Signature: open this file in a PDF reader that checks signatures, or run pdfsig. The \
     signature must be valid and cover the whole document.",
    "2. File: compare the SHA-256 of the whole file with the one that the audit trail recorded \
     when this pack was made (recall_pack.create).",
    "3. Trail: ask for a proof of the entries of this recall (recall.start, recall_notice.create, \
     recall.close; resource and id as above) and check it with keystone-verify against a \
     checkpoint of at least the size printed above. The entry recall.start holds the digest of \
     what was found.",
];

/// Writes the pages, at least two.
pub fn write(pen: &mut Pen<'_>, contents: &Contents) {
    let recall = &contents.recall.entity;
    pen.heading(20.0, 26.0, &format!("{}: evidence pack", recall.kind.words()));
    pen.write(0.0, 12.0, 22.0, false, &contents.tenant_name);
    pen.fact("Recall", &contents.recall.id.to_string());
    pen.fact(
        "State",
        if recall.state == State::Open { "open: not the last word" } else { "closed" },
    );
    pen.fact("Hazard", recall.hazard.words());
    pen.fact("Reason", &recall.reason);
    let named =
        contents.finding.lots.iter().filter(|lot| lot.side == Side::Affected && lot.depth == 0);
    for (index, lot) in named.enumerate() {
        let product = lot.product.as_deref().unwrap_or("product not known here");
        let text = format!("{}  {product}", lot.lot);
        pen.fact(if index == 0 { "Lots named" } else { "" }, &text);
    }
    if let Some(period) = recall.period {
        let text = format!(
            "only what was taken of them from {} until {} (UTC), and all that became of it",
            time(period.from),
            time(period.until)
        );
        pen.fact("Followed", &text);
    }
    pen.paragraph(
        "This pack shows what was recorded in Keystone when the recall was started, and what users \
         recorded of it until the pack was made. Goods that moved without a record are not in it.",
    );
    timer(pen, contents);
    found(pen, contents);
    reached(pen, contents);
    if let Some(closed) = &recall.closed {
        pen.heading(11.0, 15.0, "Conclusion");
        pen.paragraph(&closed.conclusion);
    }
    trail(pen, contents);
    pen.next_page();
    pen.heading(14.0, 22.0, "Clauses that this pack can serve");
    pen.paragraph(
        "BRCGS is the Global Standard Food Safety, Issue 9. This page is a guide for the reader; \
         it certifies nothing. Whether a clause is met, the auditor decides on all evidence.",
    );
    for clause in &CLAUSES {
        pen.heading(10.0, 13.0, &format!("{}  {}", clause.name, clause.title));
        pen.fact("Can be evidence for", clause.serves);
        pen.fact("Needed beside it", clause.beside);
    }
    pen.heading(14.0, 22.0, "How to verify this pack");
    for text in VERIFY {
        pen.paragraph(text);
    }
}

fn timer(pen: &mut Pen<'_>, contents: &Contents) {
    let timer = &contents.timer;
    pen.heading(11.0, 15.0, "Time");
    pen.fact("Started (UTC)", &time(timer.started_at));
    pen.fact("Lots traced in", &format!("{} ms", timer.traced_after_ms));
    let (end, elapsed) = (timer.closed_at, duration(timer.elapsed_seconds));
    let name = if end.is_some() { "Closed (UTC)" } else { "As of (UTC)" };
    pen.fact(name, &format!("{}, after {elapsed}", time(end.unwrap_or(contents.made_at))));
    let met = match (timer.within_target, end) {
        (false, _) => "NOT met",
        (true, Some(_)) => "met",
        (true, None) => "not closed yet",
    };
    pen.fact("Target", &format!("{} (BRCGS 3.9): {met}", duration(timer.target_seconds)));
}

fn found(pen: &mut Pen<'_>, contents: &Contents) {
    let summary = &contents.recall.entity.summary;
    pen.heading(11.0, 15.0, "Found in the records");
    let count = format!("{} affected, {} of origin", summary.lots, summary.origins);
    pen.fact("Lots", &count);
    pen.fact("Recipients", &summary.recipients.to_string());
    if summary.unnamed_recipient {
        pen.fact("Gap", "affected goods were dispatched to nobody who is named");
    }
    if summary.truncated {
        pen.fact("Gap", "the trace ended at one of its limits: there may be more");
    }
    if summary.limits.contains(&Limit::FindingLinks) {
        pen.fact("Left out", "the links between lots: they are too many for one recall");
    }
    for one in &summary.not_counted {
        let amount = match one.quantity {
            Some(quantity) => format!("{quantity} {}, a unit that is not converted", one.unit),
            None => "no amount was given".to_owned(),
        };
        let text = format!("{} {} movements: {amount}", one.movements, one.role.words());
        pen.fact("In no balance", &text);
    }
    for sums in &summary.balance {
        let unit = &sums.unit;
        let text = format!(
            "incoming {} = consumed {} + dispatched {} + waste {} + stock {} + unaccounted {}",
            sums.incoming,
            sums.consumed,
            sums.dispatched,
            sums.wasted,
            sums.stock,
            sums.unaccounted
        );
        pen.fact(&format!("Mass balance, {unit}"), &text);
    }
}

fn reached(pen: &mut Pen<'_>, contents: &Contents) {
    let reached = &contents.effectiveness;
    pen.heading(11.0, 15.0, "Reached, as users recorded it");
    let text = format!(
        "{} of {} recorded as told, {} as answering (who answered counts as told)",
        reached.notified, reached.recipients, reached.responded
    );
    pen.fact("Recipients", &text);
    for goods in &reached.goods {
        let text = format!(
            "dispatched {} = returned {} + destroyed {} + used {} + outstanding {}: \
             {} % accounted for, {} % recovered",
            goods.dispatched,
            goods.returned,
            goods.destroyed,
            goods.used,
            goods.outstanding,
            goods.accounted_percent,
            goods.recovered_percent
        );
        pen.fact(&format!("Goods, {}", goods.unit), &text);
    }
}

fn trail(pen: &mut Pen<'_>, contents: &Contents) {
    pen.heading(11.0, 15.0, "Record");
    pen.fact("Made at (UTC)", &time(contents.made_at));
    pen.fact("Made by", &contents.made_by);
    let shown = if contents.contacts { "in clear" } else { "masked" };
    pen.fact("Contact data", shown);
    pen.fact("Audit trail", &format!("{} entries", contents.trail.size));
    pen.fact("Merkle root", &contents.trail.root.to_string());
    match &contents.trail.checkpoint {
        Some(checkpoint) => {
            for (index, line) in checkpoint.lines().enumerate() {
                pen.fact(if index == 0 { "Last checkpoint" } else { "" }, line);
            }
        }
        None => pen.fact("Last checkpoint", "none is signed yet"),
    }
}

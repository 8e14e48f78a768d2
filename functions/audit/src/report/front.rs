//! The pages before the table: what the report is, how to verify it, what it
//! shows and what it does not, which clauses it can serve.

use keystone_report::{Pen, time};

use super::{AuditReport, per_action};

/// A clause with what of the report can be evidence for it.
struct Clause {
    name: &'static str,
    title: &'static str,
    serves: &'static str,
    beside: &'static str,
}

/// The clauses that the trail can serve. Titles are shortened; the standards'
/// own text decides.
const CLAUSES: [Clause; 6] = [
    Clause {
        name: "BRCGS 3.2",
        title: "Document control",
        serves: "who changed a controlled record, when, and from which value to which",
        beside: "the list of current controlled documents and their approval",
    },
    Clause {
        name: "BRCGS 3.3",
        title: "Record completion and maintenance",
        serves: "that records are genuine: each alteration is attributed and dated, and once a \
                 checkpoint covers an entry, neither it nor its place can be changed unseen",
        beside: "the reason for an alteration, and the retention period that the site has set",
    },
    Clause {
        name: "BRCGS 3.9",
        title: "Traceability",
        serves: "when lots, their suppliers and their quantities were recorded and by whom, and \
                 that this stood in the trail when the checkpoint was signed",
        beside: "the trace itself, its mass balance and the timed test",
    },
    Clause {
        name: "BRCGS 3.11",
        title: "Incidents, product withdrawal and product recall",
        serves: "the times at which records of affected lots were changed or put on hold, and at \
                 which contact data of customers was read",
        beside: "the incident procedure, and that customers and authorities were informed",
    },
    Clause {
        name: "BRCGS 5.4",
        title: "Product authenticity, claims and chain of custody",
        serves: "the history of origin, supplier and quantity of each lot as it was entered",
        beside: "that what was entered was true: tests, certificates and vulnerability \
                 assessments",
    },
    Clause {
        name: "(EC) 178/2002 Art. 18",
        title: "Traceability of food",
        serves: "that records of suppliers and of lots were kept, since when, and every change \
                 to them",
        beside: "records that were never entered here",
    },
];

/// How the reader checks what is printed.
const VERIFY: [&str; 4] = [
    "1. Signature: open this file in a PDF reader that checks signatures, or run pdfsig. The \
     signature must be valid and cover the whole document. It is made by a key that never leaves \
     the key management service, with the certificate that the file carries.",
    "2. File: compare the SHA-256 of the whole file with the one that the audit trail recorded \
     when this export was made. A signature does not cover what is appended to a file.",
    "3. Entries: take out the attached bundle.jsonl and run keystone-verify on it, on any \
     machine and without a network, with a verifier key that you did not get from this file: the \
     vendor publishes them, and earlier reports name them. It hashes every entry, checks every \
     personal value against its commitment and arrives at the root that the checkpoint signs.",
    "4. Without the command: a leaf is SHA-256 over a zero byte and the entry's canonical JSON \
     (RFC 8785), and must be the hash printed in the table; the tree is that of RFC 6962, the \
     checkpoint a C2SP signed note.",
];

/// What the report is good for, and what it is not.
const SHOWS: [&str; 3] = [
    "It shows which entries stood in this tenant's audit trail when it had the size on page 1: what \
     was done through the product, by whom, when, with the values before and after. What was tried \
     and not done has the outcome FAILED, or DENIED where it was not allowed.",
    "Who acted stands as kind and id, never as a name: the tenant's list of users says whose id it \
     is, for as long as that person is not erased. A character that these fonts have no letter \
     for, such as a Chinese one, is printed as its number, \\u{4e73}; the attached bundle has the \
     text as it is.",
    "It does not show that what people entered is true, nor what was done outside the product. A \
     personal value that was erased by law stands as \"erased\"; that it existed stays \
     provable. A filtered report shows what fits the filter and says nothing of the rest.",
];

/// Writes the pages, at least three.
pub fn write(pen: &mut Pen<'_>, report: &AuditReport<'_>) {
    summary(pen, report);
    pen.next_page();
    pen.heading(14.0, 22.0, "How to verify this report");
    for text in VERIFY {
        pen.paragraph(text);
    }
    pen.heading(14.0, 22.0, "What it shows, and what it does not");
    for text in SHOWS {
        pen.paragraph(text);
    }
    pen.next_page();
    clauses(pen);
}

fn summary(pen: &mut Pen<'_>, report: &AuditReport<'_>) {
    pen.heading(20.0, 26.0, "Audit report");
    pen.write(0.0, 12.0, 22.0, false, report.tenant_name);
    let bound = |at: Option<jiff::Timestamp>, open: &str| at.map_or_else(|| open.to_owned(), time);
    let (from, to) = (bound(report.from, "the beginning"), bound(report.to, "the checkpoint"));
    pen.fact("Tenant", report.tenant_id);
    pen.fact("Export", &format!("{}, volume {}", report.export, report.volume));
    pen.fact("Period (UTC)", &format!("{from} to {to}"));
    for line in report.filter {
        pen.fact("Filter", line);
    }
    if report.filter.is_empty() {
        let whole = report.from.is_none() && report.to.is_none();
        pen.fact("Filter", if whole { "none" } else { "none beside the period" });
    }
    let shown = match (report.rows.first(), report.rows.last()) {
        (Some(first), Some(last)) => {
            format!("{}, numbers {} to {}", report.rows.len(), first.seq, last.seq)
        }
        _ => "none fits".to_owned(),
    };
    pen.fact("Entries", &shown);
    pen.fact("Made at (UTC)", &time(report.generated_at));
    pen.fact("Made for", report.generated_by);
    pen.fact("Trail", &format!("{} entries in total", report.tree_size));
    pen.fact("Merkle root", report.tree_root);
    for (index, line) in report.checkpoint.lines().enumerate() {
        pen.fact(if index == 0 { "Checkpoint" } else { "" }, line);
    }
    for key in report.keys {
        pen.fact("Verifier key", key);
    }
    pen.heading(11.0, 15.0, "Entries per action and outcome");
    let counts = per_action(report).into_iter();
    let counts: Vec<String> =
        counts.map(|((action, outcome), count)| format!("{action} {outcome}: {count}")).collect();
    pen.paragraph(&counts.join("   "));
}

fn clauses(pen: &mut Pen<'_>) {
    pen.heading(14.0, 22.0, "Clauses that this report can serve");
    pen.paragraph(
        "BRCGS is the Global Standard Food Safety, Issue 9. This page is a guide for the reader; \
         it certifies nothing. Whether a clause is met, the auditor decides on all evidence.",
    );
    for clause in &CLAUSES {
        pen.heading(10.0, 13.0, &format!("{}  {}", clause.name, clause.title));
        pen.fact("Can be evidence for", clause.serves);
        pen.fact("Needed beside it", clause.beside);
    }
}

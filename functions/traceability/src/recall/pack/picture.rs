//! The graph of a recall as a picture: lots in columns by their step, origins
//! on the left of the named ones, what was made of them on the right. A graph
//! that would not be readable on a page is drawn step by step instead; the
//! tables have all of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use keystone_report::{AREA, Picture, Shape};
use rust_decimal::Decimal;

use crate::epcis::quantity::{Dimension, to_base};
use crate::recall::finding::{Amount, Finding, FoundLot, Side};

/// Most lots, columns and lots of a column that a page shows one by one.
const LOTS: usize = 60;
const COLUMNS: usize = 8;
const ROWS: usize = 22;
/// Most arrows that have their quantity beside them.
const LABELS: usize = 80;

/// Letters, and the distance of two lines, in points.
const SIZE: f32 = 6.5;
const LEADING: f32 = 8.0;
/// Within a box, beside its text.
const PADDING: f32 = 3.0;
/// A box with all its lines.
const HIGHEST: f32 = 4.0 * LEADING + 2.0 * PADDING;
/// Between two boxes of a column.
const GAP: f32 = 4.0;
/// Steps beside each other in a picture by steps.
const PER_ROW: usize = 6;

/// The picture of what was found.
pub fn picture(finding: &Finding) -> Picture {
    let mut columns: BTreeMap<i64, Vec<&FoundLot>> = BTreeMap::new();
    for lot in &finding.lots {
        columns.entry(step(lot)).or_default().push(lot);
    }
    let highest = columns.values().map(Vec::len).max().unwrap_or(0);
    let fits = finding.lots.len() <= LOTS && columns.len() <= COLUMNS && highest <= ROWS;
    if fits {
        let title = "Which lot went into which: the named ones are dark, origins are white";
        Picture { title: title.into(), shapes: lot_by_lot(finding, columns) }
    } else {
        let title = format!("The trace step by step: {} lots", finding.lots.len());
        Picture { title, shapes: step_by_step(&columns) }
    }
}

/// Steps forward from the named lots; less than 0 for origins.
fn step(lot: &FoundLot) -> i64 {
    match lot.side {
        Side::Affected => i64::from(lot.depth),
        Side::Origin => -i64::from(lot.depth),
    }
}

/// Left, top, width and height of a box.
type Place = (f32, f32, f32, f32);

fn lot_by_lot(finding: &Finding, columns: BTreeMap<i64, Vec<&FoundLot>>) -> Vec<Shape> {
    let links = merged(finding);
    let (left, top, width, height) = AREA;
    let column_width = width / number(columns.len().max(1));
    let box_width = (column_width - 46.0).min(170.0);
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    let mut boxes = Vec::new();
    for (index, (_, mut lots)) in columns.into_iter().enumerate() {
        // Beside what they were made of, so that few arrows cross.
        let middle = |lot: &FoundLot| {
            let before: Vec<f32> = links
                .keys()
                .filter(|(_, to)| *to == lot.lot)
                .filter_map(|(from, _)| places.get(*from).map(|(_, y, _, h)| y + h / 2.0))
                .collect();
            before.iter().sum::<f32>() / number(before.len().max(1))
        };
        lots.sort_by(|a, b| middle(a).total_cmp(&middle(b)).then_with(|| a.lot.cmp(&b.lot)));
        let room = height / number(lots.len());
        let box_height = (room - GAP).min(HIGHEST);
        let x = left + column_width * number(index);
        for (row, lot) in lots.into_iter().enumerate() {
            let y = top + room * number(row) + (room - box_height) / 2.0;
            let place = (x, y, box_width, box_height);
            places.insert(&lot.lot, place);
            boxes.extend(lot_box(place, lot, &recipients(finding, lot)));
        }
    }
    let labelled = links.len() <= LABELS;
    let mut shapes = Vec::new();
    for ((from, to), quantity) in &links {
        let (Some(one), Some(other)) = (places.get(*from), places.get(*to)) else { continue };
        let start = (one.0 + one.2, one.1 + one.3 / 2.0);
        let end = (other.0, other.1 + other.3 / 2.0);
        shapes.push(Shape::Arrow { from: start, to: end });
        if labelled {
            let at = (f32::midpoint(start.0, end.0) - 14.0, f32::midpoint(start.1, end.1) - 1.5);
            let text = quantity.as_ref().map(Amount::words).unwrap_or_default();
            boxes.push(Shape::Label { at, width: 60.0, size: 5.5, bold: false, text });
        }
    }
    // Boxes cover the ends of arrows that pass behind them.
    shapes.extend(boxes);
    shapes
}

/// What went from one lot into another, in all events; no amount where one is
/// not known or they do not add up.
fn merged(finding: &Finding) -> BTreeMap<(&str, &str), Option<Amount>> {
    let mut all: BTreeMap<(&str, &str), Option<(Dimension, Decimal)>> = BTreeMap::new();
    for link in &finding.links {
        let unit = link.unit.as_deref().unwrap_or_default();
        let base = link.quantity.and_then(|quantity| to_base(quantity, unit));
        all.entry((&link.from, &link.to))
            .and_modify(|sum| {
                *sum = match (*sum, base) {
                    (Some((of, sum)), Some((same, more))) if of == same => Some((of, sum + more)),
                    _ => None,
                };
            })
            .or_insert(base);
    }
    let amount = |(of, value): (Dimension, Decimal)| Amount {
        value: value.normalize(),
        unit: of.unit().into(),
    };
    all.into_iter().map(|(lots, sum)| (lots, sum.map(amount))).collect()
}

/// Who got of a lot, in short.
fn recipients(finding: &Finding, lot: &FoundLot) -> String {
    let got = finding
        .recipients
        .iter()
        .filter(|one| one.lots.iter().any(|sent| sent.lot == lot.lot))
        .count();
    match (got, lot.side) {
        (0, _) => String::new(),
        (_, Side::Origin) => format!("dispatched {}", words(&lot.dispatched)),
        (1, _) => format!("1 customer: {}", words(&lot.dispatched)),
        (got, _) => format!("{got} customers: {}", words(&lot.dispatched)),
    }
}

fn words(amounts: &[Amount]) -> String {
    amounts.iter().map(Amount::words).collect::<Vec<_>>().join(", ")
}

fn lot_box(place: Place, lot: &FoundLot, recipients: &str) -> Vec<Shape> {
    let number = lot.lot.split_once("/10/").map_or(lot.lot.as_str(), |(_, number)| number);
    let lines = [
        number.to_owned(),
        lot.product.clone().unwrap_or_else(|| lot.lot.clone()),
        format!("in {}; left {}", words(&lot.incoming), words(&lot.stock)),
        recipients.to_owned(),
    ];
    let grey = match (lot.side, lot.depth) {
        (Side::Affected, 0) => 190,
        (Side::Affected, _) => 228,
        (Side::Origin, _) => 255,
    };
    text_box(place, grey, &lines)
}

/// A box with as many of the lines as it has room for; the first stands out.
fn text_box((x, y, width, height): Place, grey: u8, lines: &[String]) -> Vec<Shape> {
    let mut shapes = vec![Shape::Area { at: (x, y, width, height), grey }];
    let mut baseline = y + PADDING + SIZE - 1.0;
    for (index, text) in lines.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        if index > 0 && baseline > y + height - 1.0 {
            break;
        }
        shapes.push(Shape::Label {
            at: (x + PADDING, baseline),
            width: width - 2.0 * PADDING,
            size: SIZE,
            bold: index == 0,
            text: text.clone(),
        });
        baseline += LEADING;
    }
    shapes
}

/// One box for each step, from the origins on, in rows.
fn step_by_step(columns: &BTreeMap<i64, Vec<&FoundLot>>) -> Vec<Shape> {
    let (left, top, width, height) = AREA;
    let rows = columns.len().div_ceil(PER_ROW).max(1);
    let room = (width / number(PER_ROW), height / number(rows));
    let size = (room.0 - 24.0, (room.1 - 8.0).min(HIGHEST));
    let mut shapes = Vec::new();
    let mut previous: Option<Place> = None;
    for (index, (step, lots)) in columns.iter().enumerate() {
        let x = left + room.0 * number(index % PER_ROW);
        let y = top + room.1 * number(index / PER_ROW);
        let place = (x, y, size.0, size.1);
        let name = match step {
            0 => "named".to_owned(),
            step if *step < 0 => format!("{} back", -step),
            step => format!("{step} forward"),
        };
        let lines = [
            format!("{name}: {} lots", lots.len()),
            format!("in {}", words(&sum(lots, |lot| &lot.incoming))),
            format!("left {}", words(&sum(lots, |lot| &lot.stock))),
            format!("dispatched {}", words(&sum(lots, |lot| &lot.dispatched))),
        ];
        let grey = match step.cmp(&0) {
            Ordering::Equal => 190,
            Ordering::Greater => 228,
            Ordering::Less => 255,
        };
        shapes.extend(text_box(place, grey, &lines));
        if let Some(before) = previous {
            let same_row = index % PER_ROW > 0;
            let (from, to) = if same_row {
                ((before.0 + size.0, y + size.1 / 2.0), (x, y + size.1 / 2.0))
            } else {
                ((before.0 + size.0 / 2.0, before.1 + size.1), (x + size.0 / 2.0, y))
            };
            shapes.push(Shape::Arrow { from, to });
        }
        previous = Some(place);
    }
    shapes
}

/// The sums of an amount over lots, one for each unit.
fn sum(lots: &[&FoundLot], of: fn(&FoundLot) -> &Vec<Amount>) -> Vec<Amount> {
    let units: BTreeSet<&str> =
        lots.iter().flat_map(|lot| of(lot)).map(|amount| amount.unit.as_str()).collect();
    let total = |unit: &str| -> Decimal {
        let all = lots.iter().flat_map(|lot| of(lot));
        all.filter(|amount| amount.unit == unit).map(|amount| amount.value).sum()
    };
    units
        .into_iter()
        .map(|unit| Amount { value: total(unit).normalize(), unit: unit.to_owned() })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "at most some hundred")]
fn number(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use keystone::tenant::Id;

    use super::*;
    use crate::recall::finding::FoundLink;

    fn lot(name: &str, side: Side, depth: u32) -> FoundLot {
        FoundLot {
            lot: format!("01/00614141777778/10/{name}"),
            side,
            depth,
            batch_id: None,
            product: None,
            incoming: vec![Amount { value: Decimal::TEN, unit: "KGM".into() }],
            consumed: vec![],
            dispatched: vec![],
            wasted: vec![],
            stock: vec![],
            unaccounted: vec![],
            places: vec![],
            suppliers: vec![],
        }
    }

    fn finding(lots: Vec<FoundLot>) -> Finding {
        let links = lots.windows(2).map(|pair| FoundLink {
            from: pair[0].lot.clone(),
            to: pair[1].lot.clone(),
            quantity: Some(Decimal::ONE),
            unit: Some("TNE".into()),
            event_id: Id::from_u128(1),
        });
        Finding { links: links.collect(), lots, recipients: vec![] }
    }

    /// Every point that is drawn lies within the page's area, and no two boxes
    /// share any of it.
    fn check(picture: &Picture) {
        let (left, top, width, height) = AREA;
        let inside = |x: f32, y: f32| {
            let fits = (left - 0.1..=left + width + 0.1).contains(&x)
                && (top - 0.1..=top + height + 0.1).contains(&y);
            assert!(fits, "{x} {y}");
        };
        let mut boxes: Vec<Place> = Vec::new();
        for shape in &picture.shapes {
            match shape {
                Shape::Area { at, .. } => {
                    inside(at.0, at.1);
                    inside(at.0 + at.2, at.1 + at.3);
                    assert!(at.2 > 20.0 && at.3 > LEADING, "{at:?}");
                    for other in &boxes {
                        let apart = at.0 + at.2 <= other.0
                            || other.0 + other.2 <= at.0
                            || at.1 + at.3 <= other.1
                            || other.1 + other.3 <= at.1;
                        assert!(apart, "{at:?} {other:?}");
                    }
                    boxes.push(*at);
                }
                Shape::Arrow { from, to } => {
                    inside(from.0, from.1);
                    inside(to.0, to.1);
                }
                Shape::Label { at, .. } => inside(at.0, at.1),
            }
        }
    }

    fn boxes(picture: &Picture) -> usize {
        picture.shapes.iter().filter(|shape| matches!(shape, Shape::Area { .. })).count()
    }

    #[test]
    fn a_small_graph_has_a_box_for_every_lot_and_an_arrow_for_every_link() {
        for count in [0_u32, 1, 2, 8, 44] {
            let lots: Vec<FoundLot> = (0..count)
                .map(|n| {
                    let side = if n % 8 < 2 { Side::Origin } else { Side::Affected };
                    let depth = (n % 8).abs_diff(2);
                    lot(&n.to_string(), side, depth)
                })
                .collect();
            let found = finding(lots);
            let drawn = picture(&found);
            check(&drawn);
            assert_eq!(boxes(&drawn), found.lots.len());
            let arrows = drawn.shapes.iter().filter(|one| matches!(one, Shape::Arrow { .. }));
            assert_eq!(arrows.count(), found.links.len());
        }
        let full = (0..22).map(|n| lot(&n.to_string(), Side::Affected, 0)).collect();
        check(&picture(&finding(full)));
    }

    #[test]
    fn a_large_graph_has_a_box_for_every_step() {
        let many: Vec<FoundLot> = (0..61).map(|n| lot(&n.to_string(), Side::Affected, 0)).collect();
        let drawn = picture(&finding(many));
        check(&drawn);
        assert_eq!(boxes(&drawn), 1);
        let deep: Vec<FoundLot> = (1..=50)
            .map(|n| lot(&format!("b{n}"), Side::Origin, n))
            .chain((0..=50).map(|n| lot(&n.to_string(), Side::Affected, n)))
            .collect();
        let drawn = picture(&finding(deep));
        check(&drawn);
        assert_eq!(boxes(&drawn), 101);
    }

    #[test]
    fn what_went_over_in_several_events_is_added_up() {
        let mut found = finding(vec![lot("A", Side::Affected, 0), lot("B", Side::Affected, 1)]);
        let mut more = found.links[0].clone();
        more.unit = Some("KGM".into());
        found.links.push(more.clone());
        let sums: Vec<_> = merged(&found).into_values().collect();
        assert_eq!(sums[0].as_ref().unwrap().words(), "1001 KGM");
        more.unit = Some("LTR".into());
        found.links.push(more);
        assert_eq!(merged(&found).into_values().collect::<Vec<_>>(), [None]);
    }
}

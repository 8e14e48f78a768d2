//! A trace as a picture (SVG 1.1): lots in columns by how many steps away they
//! are, what they were made of on the left, what was made of them on the right.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use super::{Edge, Graph, Node};

/// Most lots and links that are drawn one by one; of more only a summary is
/// given, since nobody could read them.
const LOTS_DRAWN: usize = 300;
const LINKS_DRAWN: usize = 1_000;

/// Sizes in pixels.
const BOX: (i64, i64) = (230, 64);
const GAP: (i64, i64) = (130, 24);
const MARGIN: i64 = 24;
/// Longest text in a box, in characters.
const TEXT: usize = 30;

/// The picture.
pub fn svg(graph: &Graph) -> String {
    let layers = layers(graph);
    let drawn = graph.nodes.len() <= LOTS_DRAWN && graph.edges.len() <= LINKS_DRAWN;
    if drawn { drawing(graph, &layers) } else { summary(graph, &layers) }
}

/// How many steps each lot is from the start: negative for what went in.
fn layers(graph: &Graph) -> BTreeMap<&str, i64> {
    let mut layers = BTreeMap::from([(graph.start.as_str(), 0)]);
    let mut next: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for Edge { from, to, .. } in &graph.edges {
        next.entry((true, from)).or_default().push(to);
        next.entry((false, to)).or_default().push(from);
    }
    for forward in [false, true] {
        let mut queue = VecDeque::from([(graph.start.as_str(), 0)]);
        while let Some((lot, layer)) = queue.pop_front() {
            let further = if forward { layer + 1 } else { layer - 1 };
            for other in next.get(&(forward, lot)).into_iter().flatten() {
                if !layers.contains_key(other) {
                    layers.insert(other, further);
                    queue.push_back((other, further));
                }
            }
        }
    }
    layers
}

/// Where the boxes stand: layer by layer from left to right, in a layer by
/// where the lots that they are linked with stand, so that few lines cross.
fn places<'g>(graph: &'g Graph, layers: &BTreeMap<&str, i64>) -> BTreeMap<&'g str, (i64, i64)> {
    let mut by_layer: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for node in &graph.nodes {
        let layer = layers.get(node.lot.as_str()).copied().unwrap_or_default();
        by_layer.entry(layer).or_default().push(&node.lot);
    }
    let mut linked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Edge { from, to, .. } in &graph.edges {
        linked.entry(from).or_default().push(to);
        linked.entry(to).or_default().push(from);
    }
    let mut places: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let mut outwards: Vec<i64> = by_layer.keys().copied().collect();
    outwards.sort_by_key(|layer| layer.abs());
    let first = by_layer.keys().next().copied().unwrap_or_default();
    for layer in outwards {
        let mut lots = by_layer.remove(&layer).unwrap_or_default();
        lots.sort_by_key(|lot| {
            let known: Vec<i64> = linked
                .get(lot)
                .into_iter()
                .flatten()
                .filter_map(|other| places.get(other).map(|(_, y)| *y))
                .collect();
            let count = i64::try_from(known.len()).unwrap_or(1).max(1);
            (known.iter().sum::<i64>() / count, *lot)
        });
        let x = MARGIN + (layer - first) * (BOX.0 + GAP.0);
        let mut y = MARGIN;
        for lot in lots {
            places.insert(lot, (x, y));
            y += BOX.1 + GAP.1;
        }
    }
    places
}

fn drawing(graph: &Graph, layers: &BTreeMap<&str, i64>) -> String {
    let places = places(graph, layers);
    let width = places.values().map(|(x, _)| x + BOX.0).max().unwrap_or(0) + MARGIN;
    let height = places.values().map(|(_, y)| y + BOX.1).max().unwrap_or(0) + MARGIN;
    let mut out = head(graph, width, height);
    out.push_str(
        "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker>\
         </defs>",
    );
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (places.get(&*edge.from), places.get(&*edge.to)) {
            link(edge, *from, *to, &mut out);
        }
    }
    for node in &graph.nodes {
        if let Some(place) = places.get(&*node.lot) {
            lot(node, *place, node.lot == graph.start, &mut out);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// An arrow with the amount that went in at its middle.
fn link(edge: &Edge, from: (i64, i64), to: (i64, i64), out: &mut String) {
    let start = (from.0 + BOX.0, from.1 + BOX.1 / 2);
    let end = (to.0, to.1 + BOX.1 / 2);
    let half = GAP.0 / 2;
    let amount = match (&edge.quantity, &edge.unit) {
        (Some(quantity), Some(unit)) => format!("{} {unit}", quantity.normalize()),
        _ => String::new(),
    };
    let _ = write!(
        out,
        "<path d=\"M{} {}C{} {} {} {} {} {}\" fill=\"none\" stroke=\"#555\" \
         marker-end=\"url(#arrow)\"><title>{} to {}: {}</title></path>",
        start.0,
        start.1,
        start.0 + half,
        start.1,
        end.0 - half,
        end.1,
        end.0,
        end.1,
        escaped(&edge.from),
        escaped(&edge.to),
        escaped(if amount.is_empty() { "amount not known" } else { &amount }),
    );
    let (x, y) = (i64::midpoint(start.0, end.0), i64::midpoint(start.1, end.1) - 4);
    let _ = write!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#333\">{}</text>",
        escaped(&amount)
    );
}

fn lot(node: &Node, (x, y): (i64, i64), start: bool, out: &mut String) {
    let (stroke, fill) = if start { ("3", "#fff3d6") } else { ("1", "#f4f7fa") };
    let (first, second) = names(&node.lot);
    let count = |role: &str| node.partners.iter().filter(|one| one.role == role).count();
    let third = format!("received {} ×, dispatched {} ×", count("received"), count("dispatched"));
    let _ = write!(
        out,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\" \
         fill=\"{fill}\" stroke=\"#234\" stroke-width=\"{stroke}\"/>",
        escaped(&node.lot),
        BOX.0,
        BOX.1
    );
    for (line, (text, weight)) in
        [(first, "bold"), (second, "normal"), (third, "normal")].iter().enumerate()
    {
        let down = y + 20 + 17 * i64::try_from(line).unwrap_or_default();
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{down}\" font-size=\"12\" font-weight=\"{weight}\" \
             fill=\"#111\">{}</text>",
            x + 10,
            escaped(&cut(text))
        );
    }
    out.push_str("</g>");
}

/// What a box says of a lot in its first two lines.
fn names(key: &str) -> (String, String) {
    let lot = key.strip_prefix("01/").and_then(|rest| rest.split_once("/10/"));
    match (lot, key.strip_prefix("00/")) {
        (Some((gtin, lot)), _) => (lot.to_owned(), format!("GTIN {gtin}")),
        (_, Some(sscc)) => (format!("SSCC {sscc}"), String::new()),
        _ => (key.to_owned(), String::new()),
    }
}

/// In place of a picture that nobody could read: what it would show.
fn summary(graph: &Graph, layers: &BTreeMap<&str, i64>) -> String {
    let mut rows: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
    for node in &graph.nodes {
        let layer = layers.get(node.lot.as_str()).copied().unwrap_or_default();
        let (lots, partners) = rows.entry(layer).or_default();
        *lots += 1;
        *partners += node.partners.len();
    }
    let mut texts = vec![
        describe(graph),
        format!("Too large to draw: more than {LOTS_DRAWN} lots or {LINKS_DRAWN} links."),
        "Ask for fewer steps (depth), or for the table or the graph.".to_owned(),
    ];
    texts.extend(rows.iter().map(|(layer, (lots, partners))| {
        let step = match layer {
            0 => "Start".to_owned(),
            layer if *layer < 0 => format!("Step {} back", -layer),
            layer => format!("Step {layer} forward"),
        };
        format!("{step}: {lots} lots, {partners} receipts and dispatches")
    }));
    let height = 2 * MARGIN + 20 * i64::try_from(texts.len()).unwrap_or_default();
    let mut out = head(graph, 640, height);
    for (line, text) in texts.iter().enumerate() {
        let down = MARGIN + 16 + 20 * i64::try_from(line).unwrap_or_default();
        let _ = write!(
            out,
            "<text x=\"{MARGIN}\" y=\"{down}\" font-size=\"13\" fill=\"#111\">{}</text>",
            escaped(text)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn head(graph: &Graph, width: i64, height: i64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"title desc\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\"><title id=\"title\">Trace of {}</title>\
         <desc id=\"desc\">{}</desc><rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>",
        escaped(&graph.start),
        escaped(&describe(graph))
    )
}

fn describe(graph: &Graph) -> String {
    let ends = if graph.truncated { " It goes on beyond the limits of this trace." } else { "" };
    format!("{} lots and {} links.{ends}", graph.nodes.len(), graph.edges.len())
}

fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(TEXT - 1).collect();
    short.push('…');
    short
}

/// Text as XML 1.0 takes it; what it cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::graph;
    use super::*;

    #[test]
    fn lots_stand_in_columns_by_steps() {
        let graph =
            graph(&[("start", "b"), ("start", "c"), ("a", "start"), ("b", "d"), ("d", "b")]);
        let layers = layers(&graph);
        let expected = [("a", -1), ("b", 1), ("c", 1), ("d", 2), ("start", 0)];
        assert_eq!(layers, BTreeMap::from(expected));
        let places = places(&graph, &layers);
        let column = |lot: &str| places[lot].0;
        assert!(column("a") < column("start") && column("start") < column("b"));
        assert_eq!(column("b"), column("c"));
        let mut all: Vec<_> = places.values().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5, "no two boxes stand in one place");
    }

    #[test]
    fn text_is_only_text() {
        let picture = svg(&graph(&[("start", "<script>&\"'\u{1}")]));
        assert!(picture.contains("&lt;script&gt;&amp;&quot;&#39;\u{fffd}"), "{picture}");
        assert!(!picture.contains("<script") && picture.contains("2.5 KGM"));
        assert!(picture.contains("<title id=\"title\">") && picture.contains("<desc id=\"desc\">"));
    }

    #[test]
    fn what_nobody_could_read_is_summed_up() {
        let lots: Vec<String> = (0..400).map(|index| format!("lot-{index}")).collect();
        let links: Vec<(&str, &str)> = lots.iter().map(|lot| ("start", lot.as_str())).collect();
        let picture = svg(&graph(&links));
        assert!(picture.contains("Step 1 forward: 400 lots"), "{picture}");
        assert!(picture.contains("Too large to draw") && picture.len() < 4_000);
    }
}

//! Identifiers of things, lots, places and parties: EPC URNs (GS1 EPC Tag Data
//! Standard 1.13 §6 to §7) and GS1 Digital Link URIs (1.2) brought to one key,
//! the GS1 element string with its application identifiers:
//! `01/<GTIN-14>/10/<lot>`, `414/<GLN>`, `00/<SSCC>`.

use keystone::formats;
use keystone::http::escaped;

/// Why a text is no identifier. Only what claims to be a GS1 identifier can be
/// a wrong one; any other URI is an identifier of its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    /// What the text must be, to complete "Must be …".
    pub const fn in_words(self) -> &'static str {
        self.0
    }
}

const URN: Malformed = Malformed(
    "an EPC URN with as many digits as its kind has, such as urn:epc:id:sgtin:4012345.011111.987",
);
const LINK: Malformed = Malformed(
    "a GS1 Digital Link URI with right check digits, such as https://id.gs1.org/01/04012345111118",
);

/// The resolver whose every path is a Digital Link.
const RESOLVER: &str = "id.gs1.org";

/// What an identifier names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its key.
    pub key: String,
    /// Key of the lot, of a single item whose identifier states it: a Digital
    /// Link may give a GTIN both lot and serial (1.2 §4.3). GTIN and serial
    /// alone are unique (GS1 General Specifications §3.5.2), so they are the
    /// key, as in the EPC URN, which has no place for a lot.
    pub lot: Option<String>,
}

impl From<String> for Named {
    fn from(key: String) -> Self {
        Self { key, lot: None }
    }
}

/// The key of an identifier, the same for all forms of it.
///
/// # Errors
/// [`Malformed`] for a GS1 identifier with a wrong length or check digit.
pub fn key(uri: &str) -> Result<String, Malformed> {
    named(uri).map(|named| named.key)
}

/// What an identifier names, with all that it states.
///
/// # Errors
/// As [`key`].
pub fn named(uri: &str) -> Result<Named, Malformed> {
    if let Some(rest) = uri.strip_prefix("urn:epc:") {
        return of_urn(rest).map(|key| key.unwrap_or_else(|| uri.to_owned()).into());
    }
    let Some(rest) = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://")) else {
        return Ok(uri.to_owned().into());
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match of_link(path) {
        Some(named) => Ok(named),
        None if host.eq_ignore_ascii_case(RESOLVER) && begins_with_a_key(path) => Err(LINK),
        None => Ok(uri.to_owned().into()),
    }
}

/// The key of the product whose thing or lot `key` is: its GTIN.
pub fn product_of(key: &str) -> Option<&str> {
    let gtin = key.strip_prefix("01/")?.split('/').next()?;
    key.get(..3 + gtin.len()).filter(|product| product.len() < key.len())
}

/// Whether `key` is that of a product.
pub fn is_product(key: &str) -> bool {
    key.strip_prefix("01/").is_some_and(|gtin| gtin.len() == 14 && all_digits(gtin))
}

/// Whether `key` is that of a logistic unit, such as a pallet: an SSCC.
pub fn is_logistic_unit(key: &str) -> bool {
    key.starts_with("00/")
}

/// Whether `key` is that of a single item: a GTIN with its serial.
pub fn is_item(key: &str) -> bool {
    let item = key.strip_prefix("01/").and_then(|rest| rest.split_once('/'));
    item.is_some_and(|(_, qualifier)| qualifier.starts_with("21/"))
}

/// Whether `key` is that of an asset, such as a crate that is used again: a GRAI
/// or a GIAI.
pub fn is_asset(key: &str) -> bool {
    key.starts_with("8003/") || key.starts_with("8004/")
}

/// Whether `key` is that of a single thing: a logistic unit, an item with its
/// serial, or an asset.
pub fn is_single(key: &str) -> bool {
    is_logistic_unit(key) || is_item(key) || is_asset(key)
}

/// The GLN in the key of a party or a place.
pub fn gln_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("414/").or_else(|| key.strip_prefix("417/"))?;
    rest.split('/').next()
}

/// The key of a lot.
pub fn lot_key(gtin: &str, lot: &str) -> String {
    format!("01/{gtin:0>14}/10/{lot}")
}

/// The Digital Link URI of a lot (GS1 Digital Link 1.2 §4.3).
pub fn lot_uri(gtin: &str, lot: &str) -> String {
    format!("https://{RESOLVER}/01/{gtin:0>14}/10/{}", escaped(lot))
}

/// The Digital Link URI of a place.
pub fn place_uri(gln: &str) -> String {
    format!("https://{RESOLVER}/414/{gln}")
}

/// The Digital Link URI of a party.
pub fn party_uri(gln: &str) -> String {
    format!("https://{RESOLVER}/417/{gln}")
}

/// An EPC URN after `urn:epc:`; `None` for schemes that are not GS1 keys.
fn of_urn(rest: &str) -> Result<Option<String>, Malformed> {
    let mut parts = rest.splitn(3, ':');
    let (Some(form), Some(scheme), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(URN);
    };
    let fields: Vec<&str> = body.split('.').collect();
    match (form, scheme) {
        ("id", "sgtin" | "lgtin") | ("class", "lgtin") | ("idpat", "sgtin") => {
            // A serial or a lot may hold points.
            let mut fields = body.splitn(3, '.');
            let (Some(company), Some(item), Some(last)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(URN);
            };
            if form == "idpat" && last == "*" && (company == "*" || item == "*") {
                return Ok(None);
            }
            let (indicator, item) = item.split_at_checked(1).ok_or(URN)?;
            let gtin = number(&[indicator, company, item], 13)?;
            let last = unescaped(last).filter(|last| !last.is_empty()).ok_or(URN)?;
            Ok(Some(match (form, scheme) {
                ("idpat", _) if last == "*" => format!("01/{gtin}"),
                (_, "lgtin") => format!("01/{gtin}/10/{last}"),
                _ => format!("01/{gtin}/21/{last}"),
            }))
        }
        ("id", "sgln") => {
            let mut fields = body.splitn(3, '.');
            let (Some(company), Some(place), extension) =
                (fields.next(), fields.next(), fields.next().unwrap_or("0"))
            else {
                return Err(URN);
            };
            let gln = number(&[company, place], 12)?;
            let extension = unescaped(extension).ok_or(URN)?;
            Ok(Some(match extension.as_str() {
                "0" => format!("414/{gln}"),
                extension => format!("414/{gln}/254/{extension}"),
            }))
        }
        ("id", "pgln") => match fields.as_slice() {
            [company, place] => Ok(Some(format!("417/{}", number(&[company, place], 12)?))),
            _ => Err(URN),
        },
        ("id", "sscc") => match fields.as_slice() {
            [company, serial] => {
                let (extension, serial) = serial.split_at_checked(1).ok_or(URN)?;
                Ok(Some(format!("00/{}", number(&[extension, company, serial], 17)?)))
            }
            _ => Err(URN),
        },
        ("id", "gsin") => match fields.as_slice() {
            [company, shipment] => Ok(Some(format!("402/{}", number(&[company, shipment], 16)?))),
            _ => Err(URN),
        },
        ("id", "gsrn" | "gsrnp") => match fields.as_slice() {
            [company, service] => {
                let ai = if scheme == "gsrn" { "8018" } else { "8017" };
                Ok(Some(format!("{ai}/{}", number(&[company, service], 17)?)))
            }
            _ => Err(URN),
        },
        ("id", "grai" | "gdti" | "sgcn") => {
            let mut fields = body.splitn(3, '.');
            let (Some(company), Some(kind), Some(serial)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(URN);
            };
            let ai = match scheme {
                "grai" => "8003/0",
                "gdti" => "253/",
                _ => "255/",
            };
            let serial = unescaped(serial).ok_or(URN)?;
            Ok(Some(format!("{ai}{}{serial}", number(&[company, kind], 12)?)))
        }
        ("id", "giai" | "ginc") => {
            let (company, reference) = body.split_once('.').ok_or(URN)?;
            let reference = unescaped(reference).filter(|text| !text.is_empty()).ok_or(URN)?;
            let known = (6..=12).contains(&company.len()) && all_digits(company);
            let ai = if scheme == "giai" { "8004" } else { "401" };
            known.then(|| Some(format!("{ai}/{company}{reference}"))).ok_or(URN)
        }
        ("id" | "class" | "idpat", _) => Ok(None),
        _ => Err(URN),
    }
}

/// Joins the digits of a GS1 key, `length` of them, and appends their check
/// digit.
fn number(parts: &[&str], length: usize) -> Result<String, Malformed> {
    let digits = parts.concat();
    if digits.len() != length || !all_digits(&digits) {
        return Err(URN);
    }
    let check = formats::check_digit(&digits);
    Ok(format!("{digits}{check}"))
}

/// Application identifiers of the keys that are understood here.
const PRIMARY_KEYS: [&str; 12] =
    ["00", "01", "253", "255", "401", "402", "414", "417", "8003", "8004", "8017", "8018"];

fn begins_with_a_key(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| PRIMARY_KEYS.contains(&first))
}

/// A Digital Link path: the first primary key with its qualifiers.
fn of_link(path: &str) -> Option<Named> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<String> = path.split('/').map(unescaped).collect::<Option<_>>()?;
    let start = parts.iter().position(|part| PRIMARY_KEYS.contains(&part.as_str()))?;
    let value = parts.get(start + 1)?.as_str();
    let qualifiers: Vec<(&str, &str)> = parts
        .get(start + 2..)?
        .chunks(2)
        .map(|pair| match pair {
            [name, value] if !value.is_empty() => Some((name.as_str(), value.as_str())),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let qualifier = |ai: &str| qualifiers.iter().find(|(name, _)| *name == ai).map(|(_, v)| *v);
    let known = |allowed: &[&str]| qualifiers.iter().all(|(name, _)| allowed.contains(name));
    let ai = parts.get(start)?.as_str();
    let key = match ai {
        "01" if formats::is_gtin(value) && known(&["10", "21", "22"]) => {
            let gtin = format!("01/{value:0>14}");
            let lot = qualifier("10").map(|lot| format!("{gtin}/10/{lot}"));
            return Some(match (qualifier("21"), lot) {
                (Some(serial), lot) => Named { key: format!("{gtin}/21/{serial}"), lot },
                (None, Some(lot)) => lot.into(),
                (None, None) => gtin.into(),
            });
        }
        "414" if formats::is_gln(value) && known(&["254"]) => Some(match qualifier("254") {
            Some(extension) if extension != "0" => format!("414/{value}/254/{extension}"),
            _ => format!("414/{value}"),
        }),
        "417" if formats::is_gln(value) && known(&[]) => Some(format!("417/{value}")),
        "00" | "8017" | "8018" if is_number(value, 18) && known(&["8019"]) => {
            Some(format!("{ai}/{value}"))
        }
        "8003" if value.starts_with('0') && starts_with_number(&value[1..]) => {
            Some(format!("8003/{value}"))
        }
        "253" | "255" if starts_with_number(value) => Some(format!("{ai}/{value}")),
        "402" if is_number(value, 17) => Some(format!("402/{value}")),
        "8004" | "401" if !value.is_empty() && value.len() <= 30 => Some(format!("{ai}/{value}")),
        _ => None,
    };
    key.map(Named::from)
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(text: &str, length: usize) -> bool {
    text.len() == length
        && all_digits(text)
        && text
            .split_at_checked(length - 1)
            .is_some_and(|(digits, check)| formats::check_digit(digits).to_string() == check)
}

fn starts_with_number(text: &str) -> bool {
    text.get(..13).is_some_and(|start| is_number(start, 13))
}

/// Percent-decodes (RFC 3986 §2.1); `None` when an escape is broken.
pub fn unescaped(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_identifier_have_one_key() {
        for (forms, expected) in [
            (
                &[
                    "urn:epc:class:lgtin:0614141.077777.987",
                    "https://id.gs1.org/01/00614141777778/10/987",
                    "https://dairy.example/products/01/0614141777778/10/987?17=270131",
                    "https://id.gs1.org/01/614141777778/10/987",
                ][..],
                "01/00614141777778/10/987",
            ),
            (
                &[
                    "urn:epc:id:sgtin:9506000.013435.12345",
                    "https://id.gs1.org/01/09506000134352/21/12345",
                    "https://id.gs1.org/01/09506000134352/10/A/21/12345",
                ],
                "01/09506000134352/21/12345",
            ),
            (
                &["urn:epc:id:gsin:4012345.012345678", "https://id.gs1.org/402/40123450123456783"],
                "402/40123450123456783",
            ),
            (
                &["urn:epc:id:ginc:4012345.xyz%2F11", "https://id.gs1.org/401/4012345xyz%2F11"],
                "401/4012345xyz/11",
            ),
            (
                &["urn:epc:idpat:sgtin:4012345.066666.*", "https://id.gs1.org/01/04012345666663"],
                "01/04012345666663",
            ),
            (
                &["urn:epc:id:sgln:9506000.13430.0", "https://id.gs1.org/414/9506000134307"],
                "414/9506000134307",
            ),
            (
                &[
                    "urn:epc:id:sgln:4012345.00005.a%2Fb",
                    "https://id.example.com/414/4012345000054/254/a%2Fb",
                ],
                "414/4012345000054/254/a/b",
            ),
            (&["urn:epc:id:pgln:4000001.00005"], "417/4000001000050"),
            (
                &["urn:epc:id:sscc:0614141.1234567890", "https://id.gs1.org/00/106141412345678908"],
                "00/106141412345678908",
            ),
            (
                &["urn:epc:id:giai:4000001.111", "https://id.gs1.org/8004/4000001111"],
                "8004/4000001111",
            ),
            (
                &["urn:epc:id:grai:4012345.55555.987", "https://id.gs1.org/8003/04012345555554987"],
                "8003/04012345555554987",
            ),
        ] {
            for form in forms {
                assert_eq!(key(form).as_deref(), Ok(expected), "{form}");
            }
        }
    }

    #[test]
    fn an_item_keeps_the_lot_that_is_stated_of_it() {
        let lot = |text: &str| named(text).unwrap().lot;
        let stated = Some("01/09506000134352/10/A".to_owned());
        assert_eq!(lot("https://id.gs1.org/01/09506000134352/10/A/21/12345"), stated);
        assert_eq!(lot("https://dairy.example/01/9506000134352/22/2A/10/A/21/1?17=270131"), stated);
        for none in [
            "urn:epc:id:sgtin:9506000.013435.12345",
            "https://id.gs1.org/01/09506000134352/21/12345",
            "https://id.gs1.org/01/09506000134352/10/A",
            "https://id.gs1.org/414/9506000134307",
        ] {
            assert_eq!(lot(none), None, "{none}");
        }
    }

    #[test]
    fn a_gs1_identifier_with_wrong_digits_is_none() {
        for text in [
            "urn:epc:id:sgtin:4012345.01111.9876",
            "urn:epc:id:sgtin:401234x.011111.9876",
            "urn:epc:id:sgtin:4012345.011111.",
            "urn:epc:id:sgtin:4012345.011111.%G0",
            "urn:epc:id:sgtin",
            "urn:epc:nonsense:sgtin:4012345.011111.9876",
            "urn:epc:class:lgtin:4012345.01.1",
            "urn:epc:id:sscc:0614141.123456789",
            "urn:epc:id:sgln:061414.07346.1234",
            "https://id.gs1.org/01/09506000134353/21/12345",
            "https://id.gs1.org/414/9506000134308",
            "https://id.gs1.org/00/106141412345678909",
            "https://id.gs1.org/01/09506000134352/10/",
        ] {
            assert!(key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_uris_are_their_owners_business() {
        for text in [
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "https://example.org/8004x/401234599999",
            "https://example.org/01/123",
            "https://id.gs1.org/8010/0628165987AB",
            "urn:epc:id:bic:CSQU3054383",
            "ni:///sha-256;df7b?ver=CBV2.0",
            "urn:epc:idpat:sgtin:4012345.*.*",
        ] {
            assert_eq!(key(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_lot_is_no_single_thing_whatever_its_number() {
        for single in [
            "00/106141412345678908",
            "01/09506000134352/21/12345",
            "8003/04012345555554987",
            "8004/4000001111",
        ] {
            assert!(is_single(single), "{single}");
        }
        for lot in ["01/09506000134352/10/A/21/7", "01/09506000134352", "urn:x:lot:7"] {
            assert!(!is_single(lot), "{lot}");
        }
    }

    #[test]
    fn a_lot_is_a_lot_of_its_product() {
        assert_eq!(product_of("01/00614141777778/10/987"), Some("01/00614141777778"));
        assert_eq!(product_of("01/00614141777778"), None);
        assert_eq!(product_of("414/9506000134307"), None);
        let lot = "A/1 %";
        assert_eq!(key(&lot_uri("614141777778", lot)), Ok(lot_key("614141777778", lot)));
    }
}

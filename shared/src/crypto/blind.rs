//! Equality search on sealed values.
//!
//! Beside a sealed phone or IBAN, and beside an audit entry for its source
//! address, stands a blind index: 16 bits of a keyed HMAC of the value in its
//! normal form. So few bits are kept on purpose. They let a search read one
//! document in 65,536 (and open it to be sure). Whoever still has an old copy of
//! the database and the tenant's keys after the value was erased can confirm a
//! value that they suspect, wrong once in 65,536 times, and cannot tell it from
//! the others that fit: of the ten million numbers behind one mobile prefix,
//! some 150 share each index. The index key never changes, so that one value has
//! the same 16 bits in every copy of every age, and no two of them say more.

use zeroize::Zeroizing;

/// The normal form in which values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normal {
    /// A telephone number as E.164: `+` and digits. Blanks, hyphens, dots and
    /// parentheses do not count, and `00` stands for `+`.
    Phone,
    /// An IBAN (ISO 13616) in upper case without blanks.
    Iban,
}

/// `text` in its normal form.
pub fn normalised(normal: Normal, text: &str) -> Zeroizing<String> {
    match normal {
        Normal::Phone => {
            let kept: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
            Zeroizing::new(
                kept.strip_prefix("00").map_or_else(|| kept.clone(), |n| format!("+{n}")),
            )
        }
        Normal::Iban => Zeroizing::new(
            text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_are_one() {
        for text in ["+353861234567", "+353 86 123-4567", "00353 (86) 123.4567"] {
            assert_eq!(normalised(Normal::Phone, text).as_str(), "+353861234567");
        }
        for text in ["IE29AIBK93115212345678", "ie29 aibk 9311 5212 3456 78"] {
            assert_eq!(normalised(Normal::Iban, text).as_str(), "IE29AIBK93115212345678");
        }
    }
}

//! Which entries of a log files show, alone or together.

use std::fmt;
use std::ops::Range;

/// Ranges that are named in words; more are counted.
const NAMED: usize = 10;

/// Numbers of entries, as ranges in order that neither meet nor overlap.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Coverage(Vec<Range<u64>>);

impl Coverage {
    /// Adds the entry `seq`, which comes after all that there are.
    pub(crate) fn push(&mut self, seq: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == seq => last.end += 1,
            _ => self.0.push(seq..seq + 1),
        }
    }

    /// What any of `parts` has.
    pub(crate) fn union<'c>(parts: impl Iterator<Item = &'c Self>) -> Self {
        let mut ranges: Vec<Range<u64>> = parts.flat_map(|part| part.0.iter().cloned()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut union: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match union.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => union.push(range),
            }
        }
        Self(union)
    }

    /// How many entries it has.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// What of the entries below `size` it does not have.
    pub(crate) fn missing(&self, size: u64) -> Self {
        let mut missing = Vec::new();
        let mut next = 0;
        for range in self.0.iter().chain(std::iter::once(&(size..size))) {
            if next < range.start {
                missing.push(next..range.start);
            }
            next = next.max(range.end);
        }
        Self(missing)
    }

    /// How many ranges it has.
    pub(crate) fn ranges(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().take(NAMED).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match range.end - 1 {
                last if last == range.start => write!(f, "{comma}{last}")?,
                last => write!(f, "{comma}{} to {last}", range.start)?,
            }
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Coverage {
        let mut coverage = Coverage::default();
        for seq in numbers {
            coverage.push(*seq);
        }
        coverage
    }

    #[test]
    fn ranges_are_joined_and_what_is_missing_is_named() {
        let (first, second) = (of(&[0, 1, 2, 7]), of(&[2, 3, 9]));
        let both = Coverage::union([&second, &first].into_iter());
        assert_eq!((both.to_string().as_str(), both.count()), ("0 to 3, 7, 9", 6));
        assert_eq!(both.missing(12).to_string(), "4 to 6, 8, 10 to 11");
        assert_eq!(both.missing(10).ranges(), 2);
        assert_eq!(of(&[]).missing(3).to_string(), "0 to 2");
        assert_eq!(of(&[0, 1, 2]).missing(3), Coverage::default());
        // The seam between two files.
        let seam = Coverage::union([&of(&[0, 1]), &of(&[3, 4])].into_iter());
        assert_eq!(seam.missing(5).to_string(), "2");
        let odd = of(&(0..40).filter(|n| n % 2 == 1).collect::<Vec<_>>());
        assert!(odd.to_string().ends_with("19 and 10 more ranges"), "{odd}");
    }
}

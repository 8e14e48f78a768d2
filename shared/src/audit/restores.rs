//! Restores of the database to an earlier moment, and what they mean for audit
//! trails (docs/adr/0044).
//!
//! A checkpoint that was archived between the moment to which the database was
//! restored and that at which service began again covers entries that may be gone.
//! Nobody can take it back, and none may contradict it: a trail of which there is
//! one goes on as another generation, with an origin of its own, from the last
//! checkpoint before. Which they are follows from this configuration and from the
//! archive, and from nothing that whoever runs the database could write there.

use jiff::{SignedDuration, Timestamp};

use crate::tenant::StoreError;

/// How far the archive's clock, which tells seconds only, may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The restores of a deployment, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restores(Vec<Restore>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Restore {
    /// To which moment.
    to: Timestamp,
    /// When functions used the restored database, and nothing else any more.
    resumed: Timestamp,
}

impl Restores {
    /// Reads `none`, or intervals `<moment>/<resumed>` (ISO 8601), in the order in
    /// which service was resumed, divided by commas. A later one may begin before
    /// an earlier one: what was restored is then put back further.
    ///
    /// # Errors
    /// [`StoreError::Defect`] for anything else, and for intervals that are empty
    /// or out of order.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let wrong = || StoreError::defect("restores are no intervals in order");
        let mut restores: Vec<Restore> = Vec::new();
        for interval in text.split(',').map(str::trim).filter(|interval| *interval != "none") {
            let (to, resumed) = interval.split_once('/').ok_or_else(wrong)?;
            let (to, resumed) = to.parse().ok().zip(resumed.parse().ok()).ok_or_else(wrong)?;
            let before = restores.last().map_or(Timestamp::MIN, |before| before.resumed);
            if resumed <= before || resumed <= to {
                return Err(wrong());
            }
            restores.push(Restore { to, resumed });
        }
        Ok(Self(restores))
    }

    /// The generation of a trail that begins after a checkpoint that was archived
    /// at `at` was lost, by the last restore that lost it; `None` if none did.
    pub fn generation_after(&self, at: Timestamp) -> Option<u64> {
        let lost = |restore: &Restore| restore.to < at && at <= restore.resumed;
        self.0.iter().rposition(lost).map(|restore| restore as u64 + 2)
    }

    /// Whether a checkpoint that was archived at `at` was lost.
    pub fn lost(&self, at: Timestamp) -> bool {
        self.generation_after(at).is_some()
    }

    /// The latest generation that a trail can be of.
    pub fn generations(&self) -> u64 {
        self.0.len() as u64 + 1
    }

    /// Whether at `now` service has begun again after every restore, by every
    /// clock that is right within [`SKEW`].
    pub fn are_over(&self, now: Timestamp) -> bool {
        self.0.iter().all(|restore| now.duration_since(restore.resumed) > SKEW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-{text}Z").parse().unwrap()
    }

    #[test]
    fn what_was_archived_in_between_is_lost() {
        let restores = "2026-01-02T10:00:00Z/2026-01-02T12:00:00Z, \
                        2026-01-05T00:00:00Z/2026-01-05T01:00:00Z";
        let restores = Restores::parse(restores).unwrap();
        for (moment, generation) in [
            ("02T10:00:00", None),
            ("02T10:00:01", Some(2)),
            ("02T12:00:00", Some(2)),
            ("02T12:00:01", None),
            ("05T00:30:00", Some(3)),
            ("06T00:00:00", None),
        ] {
            assert_eq!(restores.generation_after(at(moment)), generation, "{moment}");
        }
        assert_eq!(restores.generations(), 3);
        assert!(restores.are_over(at("05T01:00:06")) && !restores.are_over(at("05T01:00:05")));
        let none = Restores::parse("none").unwrap();
        assert_eq!((none.generations(), none.generation_after(at("02T11:00:00"))), (1, None));
        assert!(none.are_over(Timestamp::MIN));
    }

    #[test]
    fn what_was_restored_can_be_put_back_further() {
        let restores = "2026-01-02T10:00:00Z/2026-01-02T12:00:00Z,\
                        2026-01-02T09:00:00Z/2026-01-02T14:00:00Z";
        let restores = Restores::parse(restores).unwrap();
        for (moment, generation) in [
            ("02T09:00:00", None),
            ("02T09:30:00", Some(3)),
            ("02T11:00:00", Some(3)),
            ("02T13:00:00", Some(3)),
            ("02T14:30:00", None),
        ] {
            assert_eq!(restores.generation_after(at(moment)), generation, "{moment}");
        }
    }

    #[test]
    fn intervals_are_in_order() {
        for wrong in [
            "",
            "2026-01-02T10:00:00Z",
            "2026-01-02T10:00:00Z/2026-01-02T10:00:00Z",
            "2026-01-02T10:00:00Z/PT2H",
            "2026-01-05T00:00:00Z/2026-01-05T01:00:00Z,2026-01-02T10:00:00Z/2026-01-02T12:00:00Z",
        ] {
            assert!(Restores::parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! Two guesses on one admission.

use keystone::auth::throttle::Admission;

pub fn twice(admission: Admission<'_>) -> (Admission<'_>, Admission<'_>) {
    (admission.clone(), admission) //~ E0599
}

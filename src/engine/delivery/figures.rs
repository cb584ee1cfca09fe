//! Figures of one tenant's sockets and sessions.

use super::Delivery;
use crate::engine::effect::Figures;

impl Delivery {
    /// Adds what is known here to the figures.
    pub(in crate::engine) fn figures(&self, figures: &mut Figures) {
        figures.topics = self.classes.topics();
        figures.database = self.database_figures();
        for socket in self.sockets.iter() {
            figures.connections += 1;
            count(&mut figures.by_dialect, &socket.dialect);
            match socket.principal() {
                None => figures.pending += 1,
                Some(principal) => {
                    for role in principal.roles.as_slice() {
                        count(&mut figures.by_role, role);
                    }
                }
            }
        }
    }
}

fn count<T: Clone + PartialEq>(counts: &mut Vec<(T, u64)>, what: &T) {
    match counts.iter_mut().find(|(known, _)| known == what) {
        Some((_, count)) => *count += 1,
        None => counts.push((what.clone(), 1)),
    }
}

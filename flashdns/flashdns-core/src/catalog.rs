//! The zones that are served. Immutable: another set of zones is another catalog, which shares all zones but the
//! one that changed.

use std::sync::Arc;

use crate::{
    Name, Zone,
    hash::Seed,
    labels::Labels,
    name::LABELS_MAX,
    shards::{Entry, Shards},
    zone::bit,
};

#[derive(Debug, Clone)]
struct Listed {
    hash: u32,
    zone: Arc<Zone>,
}

impl Entry for Listed {
    fn hash(&self) -> u32 {
        self.hash
    }

    fn is_same(&self, other: &Listed) -> bool {
        self.zone.name() == other.zone.name()
    }
}

/// A set of zones.
#[derive(Debug, Clone)]
pub struct Catalog {
    zones: Shards<Listed>,
    /// Zones by the number of labels of their names.
    by_depth: [u32; LABELS_MAX + 1],
    /// Depths at which there are zones, one bit each.
    depths: u128,
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog { zones: Shards::default(), by_depth: [0; LABELS_MAX + 1], depths: 0 }
    }
}

impl Catalog {
    /// This catalog with `zone` in place of the one of its name.
    #[must_use]
    pub fn with_zone(&self, zone: Arc<Zone>) -> Catalog {
        let mut next = self.clone();
        next.insert(zone);
        next
    }

    fn insert(&mut self, zone: Arc<Zone>) {
        let depth = zone.depth();
        let before = self.zones.len();
        self.zones.insert(Listed { hash: hash(zone.name()), zone });
        if self.zones.len() > before {
            self.by_depth[depth] += 1;
            self.depths |= bit(depth);
        }
    }

    /// This catalog without the zone called `name`.
    #[must_use]
    pub fn without_zone(&self, name: &Name) -> Catalog {
        let mut next = self.clone();
        let depth = name.depth();
        next.zones.remove(hash(name), |listed| listed.zone.name() == name);
        if next.zones.len() < self.zones.len() {
            next.by_depth[depth] -= 1;
            if next.by_depth[depth] == 0 {
                next.depths &= !bit(depth);
            }
        }
        next
    }

    /// The zone called exactly `name`.
    pub fn zone(&self, name: &Name) -> Option<&Arc<Zone>> {
        self.zones.find(hash(name), |listed| listed.zone.name() == name).map(|listed| &listed.zone)
    }

    /// All zones, in no particular order.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.zones.iter().map(|listed| &listed.zone)
    }

    /// How many zones there are.
    pub fn len(&self) -> usize {
        self.zones.len()
    }

    /// Whether there is no zone.
    pub fn is_empty(&self) -> bool {
        self.zones.len() == 0
    }

    /// The deepest zone that the ancestor of `name` at `depth` is in.
    pub(crate) fn find(&self, name: &Labels, depth: usize) -> Option<&Zone> {
        (0..=depth).rev().filter(|&depth| self.depths & bit(depth) != 0).find_map(|depth| {
            let lower = name.suffix(depth);
            let listed =
                self.zones.find(name.hash_at(depth), |listed| listed.zone.apex().is_called(lower))?;
            Some(&*listed.zone)
        })
    }
}

fn hash(name: &Name) -> u32 {
    Seed::get().name(name.to_lowercase().as_wire())
}

impl FromIterator<Arc<Zone>> for Catalog {
    fn from_iter<I: IntoIterator<Item = Arc<Zone>>>(zones: I) -> Catalog {
        let mut catalog = Catalog::default();
        for zone in zones {
            catalog.insert(zone);
        }
        catalog
    }
}

//! What a benchmark prints: each side's figures, medians over the rounds, and ratios of ours over theirs.

use serde::Serialize;

/// One side's figures in one row.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Side {
    /// Operations a second.
    pub(crate) rate: f64,
    /// Median latency.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency.
    pub(crate) p99_us: f64,
    /// CPU time of the servers for each operation.
    pub(crate) cpu_us: f64,
    /// What the largest server keeps in memory at the end, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident_mib: Option<f64>,
    /// What the disk was given for each operation, by all servers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written_bytes: Option<f64>,
}

/// What a side's servers have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU seconds of all.
    pub(crate) cpu_s: f64,
    /// Bytes that the disk was given.
    pub(crate) written_bytes: u64,
    /// The memory of the largest.
    pub(crate) resident_bytes: u64,
}

/// One operation, measured on both sides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) op: String,
    /// Who the other side is.
    pub(crate) peer: String,
    /// Clients at once.
    pub(crate) clients: u32,
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) rate_ratio: f64,
    pub(crate) p99_ratio: f64,
    pub(crate) cpu_ratio: f64,
}

impl Row {
    /// Puts the medians of both sides' rounds beside each other.
    pub(crate) fn of(op: &str, peer: &str, clients: u32, ours: &[Side], theirs: &[Side]) -> Self {
        let (ours, theirs) = (median(ours), median(theirs));
        Self {
            op: op.to_owned(),
            peer: peer.to_owned(),
            clients,
            rate_ratio: ours.rate / theirs.rate,
            p99_ratio: ours.p99_us / theirs.p99_us,
            cpu_ratio: ours.cpu_us / theirs.cpu_us,
            ours,
            theirs,
        }
    }
}

/// The median of each figure on its own.
fn median(sides: &[Side]) -> Side {
    let middle = |figure: fn(&Side) -> Option<f64>| {
        let mut figures: Vec<f64> = sides.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    Side {
        rate: middle(|side| Some(side.rate)).unwrap_or(f64::NAN),
        p50_us: middle(|side| Some(side.p50_us)).unwrap_or(f64::NAN),
        p99_us: middle(|side| Some(side.p99_us)).unwrap_or(f64::NAN),
        cpu_us: middle(|side| Some(side.cpu_us)).unwrap_or(f64::NAN),
        resident_mib: middle(|side| side.resident_mib),
        written_bytes: middle(|side| side.written_bytes),
    }
}

/// Prints the table for people: speed, and below it what was kept in memory and written, where that was measured.
#[expect(clippy::print_stdout, reason = "the table is this command's result")]
pub(crate) fn print(rows: &[Row]) {
    let side = format!("{:>9} {:>9} {:>9} {:>8}", "rate/s", "p50 us", "p99 us", "cpu us");
    println!(
        "{:24} {:8} {:>7} | {side} | {side} | {:>6} {:>6} {:>6}",
        "op", "peer", "clients", "rate", "p99", "cpu"
    );
    for row in rows {
        println!(
            "{} | {} | {} | {:>5.2}x {:>5.2}x {:>5.2}x",
            named(row),
            speed(&row.ours),
            speed(&row.theirs),
            row.rate_ratio,
            row.p99_ratio,
            row.cpu_ratio
        );
    }
    let weighed: Vec<_> = rows.iter().filter(|row| row.ours.resident_mib.is_some()).collect();
    if weighed.is_empty() {
        return;
    }
    let side = format!("{:>12} {:>15}", "MiB resident", "bytes written");
    println!("\n{:24} {:8} {:>7} | {side} | {side}", "op", "peer", "clients");
    for row in weighed {
        println!("{} | {} | {}", named(row), weight(&row.ours), weight(&row.theirs));
    }
}

fn named(row: &Row) -> String {
    format!("{:24} {:8} {:>7}", row.op, row.peer, row.clients)
}

fn speed(side: &Side) -> String {
    format!("{:>9.0} {:>9.0} {:>9.0} {:>8.2}", side.rate, side.p50_us, side.p99_us, side.cpu_us)
}

fn weight(side: &Side) -> String {
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"));
    format!("{:>12} {:>15}", figure(side.resident_mib), figure(side.written_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_figure_on_its_own_and_ratios_are_ours_over_theirs() {
        let side = |rate, p99_us| Side { rate, p50_us: 1.0, p99_us, cpu_us: 2.0, ..Side::default() };
        let ours = [side(10.0, 3.0), side(30.0, 9.0), side(20.0, 6.0)];
        let row = Row::of("put", "etcd", 64, &ours, &[side(10.0, 12.0)]);
        assert_eq!((row.ours.rate, row.ours.p99_us), (20.0, 6.0));
        assert_eq!((row.rate_ratio, row.p99_ratio, row.cpu_ratio), (2.0, 0.5, 1.0));
    }
}
